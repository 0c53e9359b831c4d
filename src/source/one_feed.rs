//! A source whose files all belong to one feed. Only this file decides what such a source answers about files of other
//! feeds.

use std::io::{self, ErrorKind};

use tokio_util::sync::CancellationToken;

use crate::domain::{Feed, FileKey, FileStat};
use crate::source::left_out::LeftOut;
use crate::source::{Events, Found, Retire, Source, SourceFile, Stays};

/// A source whose files all belong to one feed. Its methods are those of [`Source`], but they take paths, and are called
/// only for files of this feed. Every such source is a [`Source`].
pub trait OneFeed: Clone + Send + Sync + 'static {
    type File: SourceFile;
    type Events: Events;

    fn feed(&self) -> &Feed;

    fn name(&self) -> String;

    fn can_grow(&self) -> bool;

    fn is_in_inbox(&self, path: &str) -> bool;

    /// # Errors
    /// Returns an error if the inbox cannot be listed.
    fn each(&self, found: &mut (dyn FnMut(Found) + Send))
    -> impl Future<Output = io::Result<LeftOut>> + Send;

    fn look(&self, path: &str) -> impl Future<Output = Option<Found>> + Send;

    fn may_exist(&self, path: &str) -> impl Future<Output = bool> + Send;

    /// # Errors
    /// Returns an error if the file cannot be opened or may not be read.
    fn open(&self, path: &str, offset: u64) -> impl Future<Output = io::Result<Self::File>> + Send;

    fn find_again(&mut self, events: Option<&Self::Events>) -> impl Future<Output = bool> + Send;

    /// # Errors
    /// Returns an error if the changes cannot be watched now.
    fn watch(&self) -> impl Future<Output = io::Result<Option<Self::Events>>> + Send;

    fn retire(
        &self,
        files: Vec<Found>,
        how: Retire,
        halt: CancellationToken,
    ) -> impl Future<Output = Vec<Result<(), Stays>>> + Send;

    /// # Errors
    /// Returns an error if something cannot be removed.
    fn sweep(&self) -> impl Future<Output = io::Result<()>> + Send;

    fn remedy(&self, how: Retire) -> String;

    fn copies(&self, path: &str, noted: FileStat) -> impl Future<Output = Vec<FileKey>> + Send;

    fn origins(&self, path: &str) -> Vec<FileKey>;
}

/// Returns the path of a file, or `None` if it belongs to another feed.
fn own<'f>(source: &impl OneFeed, file: &'f FileKey) -> Option<&'f str> {
    file.is_of(source.feed()).then(|| file.path())
}

impl<S: OneFeed> Source for S {
    type File = S::File;
    type Events = S::Events;

    fn name(&self) -> String {
        OneFeed::name(self)
    }

    fn can_grow(&self) -> bool {
        OneFeed::can_grow(self)
    }

    fn is_in_inbox(&self, file: &FileKey) -> bool {
        own(self, file).is_some_and(|path| OneFeed::is_in_inbox(self, path))
    }

    async fn each(&self, found: &mut (dyn FnMut(Found) + Send)) -> io::Result<LeftOut> {
        OneFeed::each(self, found).await
    }

    async fn look(&self, file: &FileKey) -> Option<Found> {
        OneFeed::look(self, own(self, file)?).await
    }

    async fn may_exist(&self, file: &FileKey) -> bool {
        match own(self, file) {
            Some(path) => OneFeed::may_exist(self, path).await,
            None => true,
        }
    }

    async fn open(&self, file: &FileKey, offset: u64) -> io::Result<S::File> {
        OneFeed::open(self, own(self, file).ok_or(ErrorKind::NotFound)?, offset).await
    }

    fn find_again(&mut self, events: Option<&S::Events>) -> impl Future<Output = bool> + Send {
        OneFeed::find_again(self, events)
    }

    async fn watch(&self) -> io::Result<Option<S::Events>> {
        OneFeed::watch(self).await
    }

    async fn retire(
        &self,
        files: Vec<Found>,
        how: Retire,
        halt: CancellationToken,
    ) -> Vec<Result<(), Stays>> {
        let are_own: Vec<bool> = files.iter().map(|found| own(self, &found.file).is_some()).collect();
        let files = files.into_iter().zip(&are_own).filter(|(_, is_own)| **is_own);
        let files = files.map(|(found, _)| found).collect();
        let mut outcomes = OneFeed::retire(self, files, how, halt).await.into_iter();
        let outcome = |is_own| if is_own { outcomes.next() } else { None };
        let outcomes = are_own.into_iter().map(outcome);
        outcomes.map(|outcome| outcome.unwrap_or(Err(Stays::Busy("it is a file of another feed")))).collect()
    }

    async fn sweep(&self) -> io::Result<()> {
        OneFeed::sweep(self).await
    }

    fn remedy(&self, how: Retire) -> String {
        OneFeed::remedy(self, how)
    }

    async fn copies(&self, file: &FileKey, noted: FileStat) -> Vec<FileKey> {
        match own(self, file) {
            Some(path) => OneFeed::copies(self, path, noted).await,
            None => Vec::new(),
        }
    }

    fn origins(&self, file: &FileKey) -> Vec<FileKey> {
        own(self, file).map(|path| OneFeed::origins(self, path)).unwrap_or_default()
    }
}
