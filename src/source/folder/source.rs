//! The folder as a source.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, Sender};
use tokio_util::sync::CancellationToken;

use crate::domain::{Feed, FileKey, FileStat};
use crate::source::folder::file::{FolderFile, off_thread};
use crate::source::folder::inbox::Inbox;
use crate::source::folder::move_or_delete::{Retirer, Way};
use crate::source::folder::watch::{Watch, identity};
use crate::source::left_out::LeftOut;
use crate::source::one_feed::OneFeed;
use crate::source::{Found, Retire, Stays};

/// The maximum number of files in a batch of a listing, how long a batch may take, and the maximum number of batches that
/// wait.
const BATCH: usize = 256;
const LINGER: Duration = Duration::from_millis(100);
const BATCHES: usize = 2;

impl OneFeed for Inbox {
    type File = FolderFile;
    type Events = Watch;

    fn feed(&self) -> &Feed {
        &self.feed
    }

    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn can_grow(&self) -> bool {
        true
    }

    fn is_in_inbox(&self, path: &str) -> bool {
        self.is_file_name(&self.place(path))
    }

    async fn each(&self, found: &mut (dyn FnMut(Found) + Send)) -> io::Result<LeftOut> {
        let (batches, mut listed) = mpsc::channel(BATCHES);
        let inbox = self.clone();
        let listing = off_thread(move || inbox.list_in_batches(&batches));
        let visit = async {
            while let Some(batch) = listed.recv().await {
                batch.into_iter().for_each(&mut *found);
            }
        };
        tokio::join!(listing, visit).0
    }

    async fn look(&self, path: &str) -> Option<Found> {
        let (inbox, place) = (self.clone(), self.place(path));
        let look = move || {
            // Events may come from the inbox of another feed, if a link to it has taken the place of this folder.
            inbox.apart.check()?;
            Ok(inbox.look_at(&place))
        };
        off_thread(look).await.ok().flatten()
    }

    async fn may_exist(&self, path: &str) -> bool {
        let place = self.place(path);
        off_thread(move || place.try_exists()).await.unwrap_or(true)
    }

    async fn open(&self, path: &str, offset: u64) -> io::Result<FolderFile> {
        let file = FolderFile::open_at(&self.place(path), offset).await?;
        self.check_opened(path, &file)?;
        Ok(file)
    }

    fn find_again(&mut self, events: Option<&Watch>) -> impl Future<Output = bool> + Send {
        let (inbox, watched) = (self.clone(), events.map(Watch::folder));
        async move {
            let found = off_thread(move || {
                let folder = inbox.found_again().unwrap_or(inbox.folder);
                let is_watched = watched.is_some() && watched == identity(&folder).ok();
                Ok((folder, is_watched))
            });
            let Ok((folder, is_watched)) = found.await else { return false };
            self.folder = folder;
            is_watched
        }
    }

    async fn watch(&self) -> io::Result<Option<Watch>> {
        let inbox = self.clone();
        off_thread(move || Watch::begin(&inbox).map(Some).map_err(io::Error::other)).await
    }

    async fn retire(
        &self,
        files: Vec<Found>,
        how: Retire,
        halt: CancellationToken,
    ) -> Vec<Result<(), Stays>> {
        let (retirer, apart, count) = (self.retirer(how, halt), Arc::clone(&self.apart), files.len());
        let all = move || match apart.check() {
            Ok(()) => Ok(retirer.all(&files)),
            Err(_) => {
                Ok(files.iter().map(|_| Err(Stays::Busy("its inbox is that of another feed now"))).collect())
            }
        };
        let outcomes = off_thread(all).await;
        outcomes.unwrap_or_else(|error| {
            tracing::warn!(
                "loaded files cannot be moved or deleted: {error}; this is a defect, please report it"
            );
            let failed = || Err(Stays::Busy("the task that moves or deletes files has failed"));
            std::iter::repeat_with(failed).take(count).collect()
        })
    }

    async fn sweep(&self) -> io::Result<()> {
        let retirer = self.retirer(Retire::Move, CancellationToken::new());
        off_thread(move || retirer.sweep()).await
    }

    fn remedy(&self, how: Retire) -> String {
        match how {
            Retire::Move => {
                let archive = self.archive.folder.display();
                format!("make sure that {archive} is a folder with free space that this user can write to")
            }
            Retire::Delete => "make the inbox writable for this user".to_owned(),
        }
    }

    async fn copies(&self, path: &str, noted: FileStat) -> Vec<FileKey> {
        let (archive, file) = (Arc::clone(&self.archive), path.to_owned());
        let places = off_thread(move || Ok(archive.candidates(&file, noted))).await.unwrap_or_default();
        places.iter().filter_map(|place| self.key_of(place)).collect()
    }

    fn origins(&self, path: &str) -> Vec<FileKey> {
        self.origins_of(&self.place(path))
    }
}

impl Inbox {
    /// Lists the inbox, and sends the files in batches. Ends early if nobody receives them any longer.
    fn list_in_batches(&self, batches: &Sender<Vec<Found>>) -> io::Result<LeftOut> {
        self.apart.check()?;
        let (mut left_out, mut batch, mut began) = (LeftOut::default(), Vec::new(), Instant::now());
        let mut found = |file| {
            batch.push(file);
            if batch.len() < BATCH && began.elapsed() < LINGER {
                return ControlFlow::Continue(());
            }
            began = Instant::now();
            match batches.blocking_send(std::mem::take(&mut batch)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        let listed = self.list_into(&self.folder, &mut found, &mut left_out);
        // Nobody receives them if the listing ended early.
        let _ = batches.blocking_send(batch);
        listed.map(|_| left_out)
    }

    fn retirer(&self, how: Retire, halt: CancellationToken) -> Retirer {
        let way = match how {
            Retire::Move => Way::Move(Arc::clone(&self.archive)),
            Retire::Delete => Way::Delete,
        };
        Retirer { inbox: self.folder.clone(), way, halt }
    }
}
