//! Signs of life of the stages. The watchdog asks, and each stage answers while it waits: for input, for room in a
//! queue, for a file or for the store. A stage that works comes back to such a wait within moments. A stage that
//! neither waits nor comes back is stuck, and does not answer.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use crate::metrics::Stage;

/// Asks the stages for signs of life, and keeps their answers.
#[derive(Debug)]
pub struct Heartbeat {
    /// The number of the newest question.
    question: watch::Sender<u64>,
    stages: Mutex<Vec<(Stage, Weak<AtomicU64>)>>,
}

/// The answers of a stage, or of one of its parts that run concurrently. A stage that drops its pulse has ended and is
/// no longer asked.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    /// `None` if nobody asks.
    question: Option<watch::Receiver<u64>>,
    answered: Arc<AtomicU64>,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { question: watch::Sender::new(0), stages: Mutex::default() }
    }
}

impl Heartbeat {
    /// Registers a stage, or a part of one, that begins.
    pub fn begins(&self, stage: Stage) -> Pulse {
        let question = self.question.subscribe();
        let answered = Arc::new(AtomicU64::new(*question.borrow()));
        let mut stages = self.stages();
        stages.retain(|(_, other)| other.strong_count() > 0);
        stages.push((stage, Arc::downgrade(&answered)));
        Pulse { question: Some(question), answered }
    }

    /// Asks all stages.
    pub fn ask(&self) {
        self.question.send_modify(|number| *number += 1);
    }

    /// Returns the stages that have not answered the newest question, each named once.
    pub fn silent(&self) -> BTreeSet<&'static str> {
        let newest = *self.question.borrow();
        let is_silent = |answered: &Weak<AtomicU64>| {
            answered.upgrade().is_some_and(|answered| answered.load(Ordering::Relaxed) < newest)
        };
        self.stages()
            .iter()
            .filter(|(_, answered)| is_silent(answered))
            .map(|(stage, _)| stage.name())
            .collect()
    }

    fn stages(&self) -> MutexGuard<'_, Vec<(Stage, Weak<AtomicU64>)>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// Waits for the result of `wait`, and answers questions meanwhile.
    pub async fn during<T>(&self, wait: impl Future<Output = T>) -> T {
        // If the result is ready at once, the loop below answers no question.
        self.answer();
        let mut wait = pin!(wait);
        loop {
            tokio::select! {
                biased;
                done = &mut wait => return done,
                () = self.asked() => self.answer(),
            }
        }
    }

    /// Waits until there is a question to answer.
    pub async fn asked(&self) {
        let answered = self.answered.load(Ordering::Relaxed);
        let is_asked = match self.question.clone() {
            Some(mut question) => question.wait_for(|number| *number > answered).await.is_ok(),
            None => false,
        };
        if !is_asked {
            std::future::pending().await
        }
    }

    pub fn answer(&self) {
        if let Some(question) = &self.question {
            self.answered.store(*question.borrow(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiting_stage_answers_and_a_stuck_stage_does_not() {
        let heart = Heartbeat::default();
        let (waits, stuck) = (heart.begins(Stage::Read), heart.begins(Stage::Write));
        assert!(heart.silent().is_empty(), "nothing was asked yet");
        let mut waiting = tokio::task::JoinSet::new();
        waiting.spawn(async move { waits.during(std::future::pending::<()>()).await });
        for _ in 0..3 {
            heart.ask();
            tokio::task::yield_now().await;
            assert_eq!(heart.silent(), BTreeSet::from(["write"]));
        }
        stuck.answer();
        assert!(heart.silent().is_empty());
    }

    #[tokio::test]
    async fn a_stage_that_never_waits_answers_too() {
        let heart = Heartbeat::default();
        let busy = heart.begins(Stage::Transform);
        heart.ask();
        busy.during(std::future::ready(())).await;
        assert!(heart.silent().is_empty());
    }

    #[test]
    fn a_stage_that_has_ended_is_not_asked() {
        let heart = Heartbeat::default();
        drop(heart.begins(Stage::Discover));
        heart.ask();
        assert!(heart.silent().is_empty());
    }
}
