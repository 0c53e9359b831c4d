//! What discovery does when a file was loaded, was removed or cannot be read.

use std::sync::atomic::Ordering;
use std::time::Instant;

use tracing::warn;

use crate::domain::ledger::{Amendment, KnownFile};
use crate::domain::{DeliveryId, DeliveryState, FileKey};
use crate::metrics;
use crate::pipeline::discover::Discover;
use crate::pipeline::discover::files::Again;
use crate::pipeline::messages::Finished;
use crate::source::Source;
use crate::store::{Store, StoreError};

impl<S: Store, I: Source> Discover<S, I> {
    pub(super) async fn finished(&mut self, done: &Finished) -> Result<(), StoreError> {
        let Finished { id, file, state, .. } = done;
        if *state == DeliveryState::Loading {
            self.cannot_read(file, &std::io::Error::other(done.detail.clone()));
            return Ok(());
        }
        if let Ok(intake) = self.intakes.of(file) {
            intake.identify.replacements.ended(*id, *state);
        }
        let Some((loading, again)) = self.files.finished(file, *id, *state) else { return Ok(()) };
        if *state == DeliveryState::Failed {
            let amendment = Amendment { noted: Some(loading.noted), ..Amendment::default() };
            self.amend(*id, amendment).await?;
        }
        self.changed_meanwhile(done, again).await?;
        if done.held {
            self.hold(file, loading.strikes, Instant::now()).await;
        }
        self.may_leave(file).await;
        Ok(())
    }

    /// Handles a file that changed or was removed while it was loaded.
    async fn changed_meanwhile(&mut self, done: &Finished, again: Again) -> Result<(), StoreError> {
        // While nobody can tell, the file is taken to be there.
        let is_gone = self.see(&done.file).await == Some(None);
        if done.state == DeliveryState::Loaded && is_gone {
            let state = Some((
                DeliveryState::Loaded,
                "its file was removed while it was being loaded, and all of it was loaded".to_owned(),
            ));
            self.amend(done.id, Amendment { state, ..Amendment::default() }).await?;
        }
        let replaced = done.state == DeliveryState::Replaced;
        // In a single pass, there is no later look, so the file is taken as complete.
        self.look_again(&done.file, again.or(replaced.then_some(self.single))).await;
        Ok(())
    }

    /// Closes deliveries that an earlier process left unfinished and whose file no longer exists, because they would
    /// never end. If the file comes back, the delivery resumes.
    pub(super) async fn close_gone(&self, known: &[KnownFile]) -> Result<(), StoreError> {
        let unfinished = known
            .iter()
            .filter(|known| matches!(known.state, DeliveryState::Loading | DeliveryState::Incomplete));
        for known in unfinished {
            if self.may_exist(&known.file).await {
                continue;
            }
            self.gone(known.id, &known.file).await?;
        }
        Ok(())
    }

    async fn may_exist(&self, file: &FileKey) -> bool {
        match self.intakes.of(file) {
            Ok(intake) => {
                let answer = self.waiting_for_inbox().answer(intake.identify.inbox.may_exist(file)).await;
                answer.unwrap_or(true)
            }
            Err(_) => true,
        }
    }

    pub(super) async fn gone(&self, id: DeliveryId, file: &FileKey) -> Result<(), StoreError> {
        warn!(
            file = file.text(),
            "was removed before it was loaded completely; `needledrop receipt` shows how far it was loaded"
        );
        self.replaced(id, file, "its file was removed before it was loaded completely").await
    }

    pub(super) async fn replaced(
        &self,
        id: DeliveryId,
        file: &FileKey,
        detail: &str,
    ) -> Result<(), StoreError> {
        metrics::delivery(file.feed(), DeliveryState::Replaced);
        self.stats.delivery(DeliveryState::Replaced);
        let state = Some((DeliveryState::Replaced, detail.to_owned()));
        self.amend(id, Amendment { state, ..Amendment::default() }).await
    }

    pub(super) async fn amend(&self, id: DeliveryId, amendment: Amendment) -> Result<(), StoreError> {
        self.backoff.with(|| self.store.amend(id, amendment.clone())).await
    }

    pub(super) fn cannot_read(&mut self, file: &FileKey, error: &std::io::Error) {
        if error.kind() == std::io::ErrorKind::NotFound {
            return self.files.put_off(file);
        }
        metrics::unreadable(file.feed());
        self.stats.unreadable.fetch_add(1, Ordering::Relaxed);
        if self.files.unreadable(file, Instant::now() + self.poll(file)) {
            warn!(
                file = file.text(),
                "cannot be read: {error}; make it readable; needledrop tries again by itself"
            );
        }
    }
}
