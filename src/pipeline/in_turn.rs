//! Takes messages from several queues in turn, so that a full queue does not hold up the others.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tokio::sync::mpsc::Receiver;

/// Several queues, from which messages are taken in turn.
pub struct InTurn<T> {
    queues: Vec<Receiver<T>>,
    /// The queue that is asked first.
    next: usize,
}

impl<T> InTurn<T> {
    pub fn new(queues: Vec<Receiver<T>>) -> Self {
        Self { queues, next: 0 }
    }

    /// Returns the next message, or `None` once all queues have ended. If the future is dropped before it completes, no
    /// message is lost.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Returns the number of waiting messages.
    pub fn waiting(&self) -> usize {
        self.queues.iter().map(Receiver::len).sum()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut asked = 0;
        while asked < self.queues.len() {
            let at = (self.next + asked) % self.queues.len();
            match self.queues[at].poll_recv(context) {
                Poll::Ready(Some(message)) => {
                    self.next = at + 1;
                    return Poll::Ready(Some(message));
                }
                Poll::Ready(None) => {
                    self.queues.remove(at);
                    (self.next, asked) = (at, 0);
                }
                Poll::Pending => asked += 1,
            }
        }
        if self.queues.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn each_queue_has_its_turn_however_full_the_others_are() {
        let (busy, first) = mpsc::channel(10);
        let (calm, second) = mpsc::channel(10);
        let mut queues = InTurn::new(vec![first, second]);
        for message in 0..4 {
            busy.try_send(message).unwrap();
        }
        for message in 10..12 {
            calm.try_send(message).unwrap();
        }
        assert_eq!(queues.waiting(), 6);
        let mut taken = Vec::new();
        for _ in 0..5 {
            taken.extend(queues.recv().await);
        }
        assert_eq!(taken, [0, 10, 1, 11, 2]);
        drop(calm);
        assert_eq!(queues.recv().await, Some(3));
        let waits = async { queues.recv().await };
        let later = async { busy.send(4).await.unwrap() };
        assert_eq!(
            futures::join!(waits, later).0,
            Some(4),
            "a message still arrives after the other queue has ended"
        );
        drop(busy);
        assert_eq!(queues.recv().await, None);
    }
}
