//! Whether the daemon has nothing to load, for work that may only be done then.

use std::time::Duration;

use tokio::sync::watch;

/// Learns when the daemon becomes idle or busy. Also notices short times of work.
#[derive(Clone, Debug)]
pub struct Idle(watch::Receiver<bool>);

impl Idle {
    pub fn of(sender: &watch::Sender<bool>) -> Self {
        Self(sender.subscribe())
    }

    /// Waits until the daemon has been idle for this long.
    pub async fn since(&mut self, long: Duration) {
        loop {
            if self.0.wait_for(|is_idle| *is_idle).await.is_err() || self.is_kept(long).await {
                return;
            }
        }
    }

    /// Whether the daemon stays idle for this long.
    pub async fn is_kept(&mut self, long: Duration) -> bool {
        tokio::time::timeout(long, self.ends()).await.is_err()
    }

    /// Waits until the daemon is no longer idle.
    pub async fn ends(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_short_time_of_work_is_noticed() {
        let sender = watch::Sender::new(false);
        let mut idle = Idle::of(&sender);
        let long = Duration::from_millis(20);
        assert!(tokio::time::timeout(long * 2, idle.since(long)).await.is_err(), "it is busy");
        sender.send_replace(true);
        idle.since(long).await;
        assert!(idle.is_kept(long).await);
        sender.send_replace(false);
        sender.send_replace(true);
        assert!(!idle.is_kept(long).await, "it was busy for a moment");
        idle.since(long).await;
        assert!(idle.is_kept(long).await);
    }
}
