//! Runs each connection on a thread of its own, which does one piece of work at a time.
//!
//! All allocations of a connection, mainly its page cache, thus come from one arena of the allocator. On a thread pool,
//! the allocations came from the arenas of all threads, and a load used 5 to 15 MiB more memory.

use std::io;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A connection and the thread that owns it. The thread ends when this value is dropped.
pub struct ConnectionThread {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl ConnectionThread {
    /// Starts a thread for the connection.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be created.
    pub fn of(mut connection: Connection, name: &str) -> io::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(1);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(job) = waiting.blocking_recv() {
                job(&mut connection);
            }
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `work` on the thread. Returns `None` if `work` panics, which ends the thread.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // The caller may have stopped waiting for the result.
            let _ = done.send(work(connection));
        });
        self.jobs.as_ref()?.send(job).await.ok()?;
        result.await.ok()
    }
}

impl Drop for ConnectionThread {
    /// Waits for the work under way. The connection is closed when this returns.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}
