//! The folder as a source.

use std::io;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::{Feed, FileKey, FileStat};
use crate::source::folder::file::{FolderFile, off_thread};
use crate::source::folder::inbox::Inbox;
use crate::source::folder::move_or_delete::{Retirer, Way};
use crate::source::folder::watch::Watch;
use crate::source::one_feed::OneFeed;
use crate::source::{Found, Retire, Stays};

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

    async fn each(&self, found: &mut (dyn FnMut(Found) + Send)) -> io::Result<()> {
        self.list_into(&self.folder, found)
    }

    async fn look(&self, path: &str) -> Option<Found> {
        self.look_at(&self.place(path))
    }

    async fn may_exist(&self, path: &str) -> bool {
        self.place(path).try_exists().unwrap_or(true)
    }

    async fn open(&self, path: &str, offset: u64) -> io::Result<FolderFile> {
        let file = FolderFile::open_at(&self.place(path), offset).await?;
        self.check_opened(path, &file)?;
        Ok(file)
    }

    fn find_again(&mut self, events: Option<&Watch>) -> bool {
        self.resolve();
        events.is_some_and(|watch| watch.is_on(&self.folder))
    }

    fn watch(&self) -> io::Result<Option<Watch>> {
        Watch::begin(self).map(Some).map_err(io::Error::other)
    }

    async fn retire(
        &self,
        files: Vec<Found>,
        how: Retire,
        halt: CancellationToken,
    ) -> Vec<Result<(), Stays>> {
        let (retirer, count) = (self.retirer(how, halt), files.len());
        let outcomes = off_thread(move || Ok(retirer.all(&files))).await;
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
        let places = self.archive.candidates(path, noted);
        places.iter().filter_map(|place| self.key_of(place)).collect()
    }

    fn origins(&self, path: &str) -> Vec<FileKey> {
        self.origins_of(&self.place(path))
    }
}

impl Inbox {
    fn retirer(&self, how: Retire, halt: CancellationToken) -> Retirer {
        let way = match how {
            Retire::Move => Way::Move(Arc::clone(&self.archive)),
            Retire::Delete => Way::Delete,
        };
        Retirer { inbox: self.folder.clone(), way, halt }
    }
}
