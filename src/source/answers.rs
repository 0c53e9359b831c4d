//! Notices when an inbox does not answer, as a network share whose server is away. An operation of the system on such an
//! inbox cannot be cancelled: its thread waits until the inbox answers or the process ends. Its caller need not wait as
//! long.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long an answer may take before the inbox is reported.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How often a listing that stands still is checked.
const LOOK: Duration = Duration::from_millis(100);

/// Watches the operations on one inbox. Clones share what they know.
#[derive(Clone)]
pub struct Answers(Arc<Operations>);

struct Operations {
    patience: Duration,
    /// When cancelled, nobody waits for an answer that is overdue.
    over: CancellationToken,
    /// The number of operations whose answers are overdue.
    overdue: Mutex<usize>,
    /// Called with `false` when the inbox does not answer, and with `true` when it answers again.
    report: Box<dyn Fn(bool) + Send + Sync>,
}

/// An operation whose answer is overdue.
struct Overdue<'o>(&'o Operations);

impl Drop for Overdue<'_> {
    fn drop(&mut self) {
        self.0.count(|overdue| *overdue -= 1);
    }
}

impl Operations {
    /// Changes the number of overdue answers, and reports if the inbox begins or ceases to answer. The end of the
    /// operations says nothing about the inbox.
    fn count(&self, change: impl FnOnce(&mut usize)) {
        let mut overdue = self.overdue.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = *overdue == 0;
        change(&mut overdue);
        let answers = *overdue == 0;
        if answers != answered && !self.over.is_cancelled() {
            (self.report)(answers);
        }
    }
}

impl Answers {
    /// Begins to watch an inbox. An answer is overdue after `patience`. Once `over` is cancelled, nobody waits for an
    /// answer that is overdue.
    pub fn new(
        patience: Duration,
        over: CancellationToken,
        report: impl Fn(bool) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Operations { patience, over, overdue: Mutex::default(), report: Box::new(report) }))
    }

    /// Waits for an answer that nobody can do without.
    ///
    /// # Errors
    /// Returns an error if the answer is overdue and the pipeline ends.
    pub async fn expect<T>(&self, answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::select! {
            biased;
            answer = answer => answer,
            error = self.given_up() => Err(error),
        }
    }

    /// Waits for an answer as long as it takes. The caller may drop the future.
    pub async fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.wait_for_steps(&AtomicU64::new(0), answer).await
    }

    /// Waits for an answer that is given in steps. Each step counts as an answer.
    pub async fn wait_for_steps<T>(&self, steps: &AtomicU64, answer: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            answer = answer => answer,
            never = self.watch(steps) => match never {},
        }
    }

    async fn watch(&self, steps: &AtomicU64) -> Infallible {
        loop {
            let before = steps.load(Ordering::Relaxed);
            tokio::time::sleep(self.0.patience).await;
            if steps.load(Ordering::Relaxed) == before {
                let _overdue = self.overdue();
                while steps.load(Ordering::Relaxed) == before {
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    /// Completes when an operation that begins now is to be given up.
    pub async fn given_up(&self) -> io::Error {
        tokio::time::sleep(self.0.patience).await;
        let _overdue = self.overdue();
        self.0.over.cancelled().await;
        io::Error::new(ErrorKind::TimedOut, "the inbox does not answer")
    }

    /// Completes when the pipeline ends and an operation had some more time since then. For work that may take long
    /// although the inbox answers.
    pub async fn over(&self) {
        self.0.over.cancelled().await;
        tokio::time::sleep(self.0.patience).await;
    }

    fn overdue(&self) -> Overdue<'_> {
        self.0.count(|overdue| *overdue += 1);
        Overdue(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Reported = Arc<Mutex<Vec<bool>>>;

    fn answers(patience: u64, over: &CancellationToken) -> (Answers, Reported) {
        let reported = Reported::default();
        let report = Arc::clone(&reported);
        let report = move |answers| report.lock().unwrap().push(answers);
        (Answers::new(Duration::from_millis(patience), over.clone(), report), reported)
    }

    async fn answer_after(millis: u64) -> io::Result<u8> {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok(7)
    }

    #[tokio::test]
    async fn an_overdue_answer_is_reported_and_waited_for() {
        let (answers, reported) = answers(50, &CancellationToken::new());
        assert_eq!(answers.expect(std::future::ready(Ok(7))).await.unwrap(), 7);
        assert!(reported.lock().unwrap().is_empty(), "in time");
        let (one, other) = (answers.expect(answer_after(300)), answers.wait(answer_after(600)));
        let (one, other) = tokio::join!(one, other);
        assert_eq!((one.unwrap(), other.unwrap()), (7, 7));
        assert_eq!(*reported.lock().unwrap(), [false, true], "once for both");
    }

    #[tokio::test]
    async fn each_step_of_a_listing_is_an_answer() {
        let (answers, reported) = answers(1000, &CancellationToken::new());
        let steps = AtomicU64::new(0);
        let listing = async {
            for _ in 0..30 {
                answer_after(50).await.unwrap();
                steps.fetch_add(1, Ordering::Relaxed);
            }
        };
        answers.wait_for_steps(&steps, listing).await;
        assert!(reported.lock().unwrap().is_empty());
    }

    /// Nobody learns any more whether the inbox answers, so nothing is reported.
    #[tokio::test]
    async fn an_overdue_answer_is_given_up_at_the_end() {
        let over = CancellationToken::new();
        let (answers, reported) = answers(50, &over);
        let end = async {
            answer_after(300).await.unwrap();
            over.cancel();
        };
        let (given_up, ()) = tokio::join!(answers.expect(std::future::pending::<io::Result<()>>()), end);
        assert_eq!(given_up.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(*reported.lock().unwrap(), [false]);
        let late = answers.expect(answer_after(1)).await;
        assert_eq!(late.unwrap(), 7, "an answer in time still counts");
    }
}
