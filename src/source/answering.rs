//! A source that notices when its inbox does not answer.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::domain::{FileKey, FileStat};
use crate::source::answers::Answers;
use crate::source::left_out::LeftOut;
use crate::source::{Found, Retire, Source, SourceFile, Stays};

/// A source whose operations are watched. If an answer is overdue when the pipeline ends, opening and reading fail, and
/// moving is given up. The other operations wait: their caller may drop them.
#[derive(Clone)]
pub struct Answering<I> {
    source: I,
    answers: Answers,
}

/// A file of such a source.
pub struct AnsweringFile<F> {
    file: F,
    answers: Answers,
}

impl<I> Answering<I> {
    pub fn new(source: I, answers: Answers) -> Self {
        Self { source, answers }
    }
}

impl<I: Source> Source for Answering<I> {
    type File = AnsweringFile<I::File>;
    type Events = I::Events;

    fn name(&self) -> String {
        self.source.name()
    }

    fn can_grow(&self) -> bool {
        self.source.can_grow()
    }

    fn is_in_inbox(&self, file: &FileKey) -> bool {
        self.source.is_in_inbox(file)
    }

    async fn each(&self, found: &mut (dyn FnMut(Found) + Send)) -> io::Result<LeftOut> {
        let files = AtomicU64::new(0);
        let mut counted = |file| {
            files.fetch_add(1, Ordering::Relaxed);
            found(file);
        };
        self.answers.wait_for_steps(&files, self.source.each(&mut counted)).await
    }

    async fn look(&self, file: &FileKey) -> Option<Found> {
        self.answers.wait(self.source.look(file)).await
    }

    async fn may_exist(&self, file: &FileKey) -> bool {
        self.answers.wait(self.source.may_exist(file)).await
    }

    async fn open(&self, file: &FileKey, offset: u64) -> io::Result<Self::File> {
        let file = self.answers.expect(self.source.open(file, offset)).await?;
        Ok(AnsweringFile { file, answers: self.answers.clone() })
    }

    fn find_again(&mut self, events: Option<&Self::Events>) -> impl Future<Output = bool> + Send {
        let (answers, found) = (&self.answers, self.source.find_again(events));
        async move { answers.wait(found).await }
    }

    async fn watch(&self) -> io::Result<Option<Self::Events>> {
        self.answers.wait(self.source.watch()).await
    }

    async fn retire(
        &self,
        files: Vec<Found>,
        how: Retire,
        halt: CancellationToken,
    ) -> Vec<Result<(), Stays>> {
        let (count, halt) = (files.len(), halt.child_token());
        tokio::select! {
            biased;
            outcomes = self.source.retire(files, how, halt.clone()) => outcomes,
            () = self.answers.over() => {
                halt.cancel();
                let unknown = || Err(Stays::Busy("the inbox or the archive does not answer"));
                std::iter::repeat_with(unknown).take(count).collect()
            }
        }
    }

    async fn sweep(&self) -> io::Result<()> {
        self.answers.expect(self.source.sweep()).await
    }

    fn remedy(&self, how: Retire) -> String {
        self.source.remedy(how)
    }

    async fn copies(&self, file: &FileKey, noted: FileStat) -> Vec<FileKey> {
        self.answers.wait(self.source.copies(file, noted)).await
    }

    fn origins(&self, file: &FileKey) -> Vec<FileKey> {
        self.source.origins(file)
    }
}

impl<F: SourceFile> SourceFile for AnsweringFile<F> {
    fn noted(&self) -> FileStat {
        self.file.noted()
    }

    fn note(&mut self, now: FileStat) {
        self.file.note(now);
    }

    async fn look(&self) -> io::Result<FileStat> {
        self.answers.expect(self.file.look()).await
    }

    /// A writer may be there as long as nobody can tell.
    async fn has_writer(&self) -> bool {
        self.answers.expect(async { Ok(self.file.has_writer().await) }).await.unwrap_or(true)
    }

    async fn had_writer(&self) -> bool {
        self.answers.expect(async { Ok(self.file.had_writer().await) }).await.unwrap_or(true)
    }

    async fn again(&self) -> io::Result<Self> {
        let file = self.answers.expect(self.file.again()).await?;
        Ok(Self { file, answers: self.answers.clone() })
    }

    fn position(&self) -> u64 {
        self.file.position()
    }

    async fn at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.answers.expect(self.file.at(offset, len)).await
    }

    async fn read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        self.answers.expect(self.file.read(into)).await
    }

    fn reader(&self) -> io::Result<Pin<Box<dyn AsyncRead + Send + Sync>>> {
        let reader = self.file.reader()?;
        Ok(Box::pin(AnsweringReader { reader, answers: self.answers.clone(), given_up: None }))
    }
}

/// A reader of such a file.
struct AnsweringReader {
    reader: Pin<Box<dyn AsyncRead + Send + Sync>>,
    answers: Answers,
    /// Completes when the read under way is given up. `None` if none is under way.
    given_up: Option<Pin<Box<dyn Future<Output = io::Error> + Send + Sync>>>,
}

impl AsyncRead for AnsweringReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { reader, answers, given_up } = &mut *self;
        if let Poll::Ready(read) = reader.as_mut().poll_read(context, into) {
            *given_up = None;
            return Poll::Ready(read);
        }
        let given_up = given_up.get_or_insert_with(|| {
            let answers = answers.clone();
            Box::pin(async move { answers.given_up().await })
        });
        given_up.as_mut().poll(context).map(Err)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, empty, repeat};

    use super::*;

    #[tokio::test]
    async fn a_read_under_way_is_given_up_at_the_end() {
        let over = CancellationToken::new();
        let answers = Answers::new(Duration::from_millis(20), over.clone(), |_| {});
        let reader = |reader| AnsweringReader { reader, answers: answers.clone(), given_up: None };
        let mut all = Vec::new();
        reader(Box::pin(repeat(1).take(10).chain(empty()))).read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [1; 10]);
        let (hung, _writer) = tokio::io::simplex(10);
        over.cancel();
        let given_up = reader(Box::pin(hung)).read_u8().await;
        assert_eq!(given_up.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
