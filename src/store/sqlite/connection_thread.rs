//! The thread that owns a connection. Work comes to it one at a time.
//!
//! What SQLite allocates, its page cache above all, then lies in one arena of the allocator. On a pool
//! of threads it came from each in turn, and a load took 5 to 15 MiB more.

use std::io;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A connection and its thread, which ends when this is dropped.
pub struct ConnectionThread {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl ConnectionThread {
    /// Gives the connection a thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn of(mut connection: Connection, name: &str) -> io::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(1);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(job) = waiting.blocking_recv() {
                job(&mut connection);
            }
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `work` there; `None` when it panicked, which is the end of the thread.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Whoever asked may be gone by now.
            let _ = done.send(work(connection));
        });
        self.jobs.as_ref()?.send(job).await.ok()?;
        result.await.ok()
    }
}

impl Drop for ConnectionThread {
    /// Waits for the work under way: the connection is closed when this returns.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // Its panic was told when it happened.
            let _ = thread.join();
        }
    }
}
