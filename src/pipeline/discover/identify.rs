//! What a file is: content decides, never its inode, its times or its first line alone (law 4).

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::assumed;
use super::begun::Begun;
use super::inbox::{self, Inbox};
use super::opened::{Opened, Start, framer, open, start, trusted};
use super::waiting::Candidate;
use crate::domain::header::HeaderError;
use crate::domain::text;
use crate::domain::{Delivery, DeliveryId, Mark, Noted, Origin, Plan, Source, State};
use crate::ledger::{Amendment, Continuation, Entry, Filter, HEAD, Verdict};
use crate::metrics;
use crate::pipeline::Taking;
use crate::pipeline::read::broken::Broken;
use crate::pipeline::read::frame::{Framer, Tail};
use crate::pipeline::read::source::ByteSource;
use crate::pipeline::read::trail::{Trails, Window};
use crate::pipeline::read::{Head, Work};
use crate::pipeline::split::Splitter;
use crate::store::patience::Patience;
use crate::store::{Store, StoreError};

/// Identifies files against the ledger and takes them up.
pub struct Identify<S> {
    pub store: Arc<S>,
    pub plan: Arc<Plan>,
    pub inbox: Inbox,
    pub patience: Patience,
    pub max_record_bytes: usize,
    pub trails: Arc<Trails>,
    pub taking: Taking,
    /// No file before this is counted as having waited longer.
    pub started: SystemTime,
}

/// What a file turned out to be.
pub enum Identified {
    /// As the ledger knows it.
    Unchanged(Same),
    /// To be read.
    Work(Box<Work>, DeliveryId),
    /// Nothing to read: entered into the ledger in this state.
    Entered(DeliveryId, State, String),
    /// Another program wrote its rows: entered as loaded.
    Assumed(Box<Delivery>),
    /// Its first bytes are those of a delivery that is still being loaded.
    Behind(DeliveryId, String),
}

/// A file that is as the ledger knows it.
pub struct Same {
    pub id: DeliveryId,
    pub state: State,
    /// Size and times before its bytes were compared.
    pub noted: Noted,
    /// All of its bytes were compared.
    pub verified: bool,
    /// What is to be noted of it now.
    pub amendment: Amendment,
}

/// Why a file could not be identified.
#[derive(Debug, thiserror::Error)]
pub enum IdentifyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    File(#[from] io::Error),
}

impl<S: Store> Identify<S> {
    /// Looks at one file; of a path that is not known the ledger is not asked.
    ///
    /// # Errors
    /// When the file cannot be read or the store does not answer.
    pub async fn identify(&self, candidate: &Candidate, is_known: bool) -> Result<Identified, IdentifyError> {
        let path = &candidate.found.path;
        let opened = self.open(path).await?;
        let current = if is_known { self.newest(path).await? } else { None };
        match current {
            // One that is only looked at once more is loaded already, by this run.
            Some(current) if self.taking != Taking::Again || candidate.checked => {
                self.known(candidate, opened, current).await
            }
            _ => self.anew(candidate, opened).await,
        }
    }

    async fn open(&self, path: &str) -> io::Result<Opened> {
        let opened = open(&self.inbox.place(path), self.plan.encoding).await?;
        self.inbox.check_opened(path, &opened.bytes)?;
        Ok(opened)
    }

    async fn newest(&self, path: &str) -> Result<Option<Delivery>, StoreError> {
        let newest = || self.store.deliveries(Filter::Newest(path.to_owned()));
        Ok(self.patience.with(newest).await?.pop())
    }

    /// A path that the ledger knows: the same bytes, more of them, or others.
    async fn known(
        &self,
        candidate: &Candidate,
        opened: Opened,
        current: Delivery,
    ) -> Result<Identified, IdentifyError> {
        let noted = opened.bytes.noted;
        match current.state {
            // Found wanting before: its bytes or the configuration changed since, or so it seems.
            State::Failed | State::Waiting | State::Undone => return self.anew(candidate, opened).await,
            State::Duplicate | State::Loading | State::Loaded | State::Incomplete | State::Replaced => {}
        }
        let place = self.inbox.place(&current.path);
        let trail = self.trails.find(current.id).filter(|_| is_trailed(&current, &opened));
        let begun = match Begun::follow(&place, &current, trail).await? {
            Some(begun) => Some(begun),
            None => Begun::verify(&place, &current, self.plan.encoding).await?,
        };
        let Some(mut begun) = begun else { return self.reopened(candidate).await };
        self.inbox.check_opened(&current.path, &begun.bytes)?;
        let resumes = current.state == State::Loading || current.state == State::Replaced;
        // What a cut-off gz lacked may be its trailer alone: its size tells. That a size is the same tells
        // nothing: it may have been noted of other bytes than those that were read.
        let more = match current.state {
            State::Incomplete if current.noted.size == noted.size => {
                self.has_whole_record(candidate, &opened, &mut begun).await?
            }
            State::Incomplete => true,
            _ => begun.has_more,
        };
        if !resumes && !more {
            return Ok(unchanged(&current, &opened, begun.verified));
        }
        if self.taking == Taking::Assumed {
            return self.reopened(candidate).await;
        }
        // A duplicate that grew, and one begun under another configuration, are loaded whole.
        if current.state == State::Duplicate || current.fingerprint != self.plan.fingerprint {
            return self.reopened(candidate).await;
        }
        // Nothing of it counts so far: it may have become a file that is known.
        if current.reach.record > 0 {
            return self.go_on(candidate, opened, &current, begun).await;
        }
        match self.unlike(&current.path, opened).await? {
            ControlFlow::Continue(opened) => self.go_on(candidate, opened, &current, begun).await,
            ControlFlow::Break(identified) => Ok(identified),
        }
    }

    /// Whether there is a record behind the end of an incomplete delivery that can be loaded now.
    async fn has_whole_record(
        &self,
        candidate: &Candidate,
        opened: &Opened,
        begun: &mut Begun,
    ) -> io::Result<bool> {
        let limit = self.max_record_bytes;
        begun.buffer(limit).await?;
        let mut framer = Framer::new(limit, Mark::default(), Mark::default(), blake3::Hasher::new());
        framer.bytes().extend_from_slice(&begun.buffered);
        framer.scan(1, usize::MAX);
        if framer.records() > 0 {
            return Ok(true);
        }
        let Tail::Record(tail) = framer.tail() else { return Ok(false) };
        let start = self.start(opened, &candidate.found.path).await;
        let fields = Splitter::default().split(tail).await.len();
        Ok(candidate.complete
            && begun.bytes.broken().is_none()
            && start.is_ok_and(|start| fields >= start.mapping.fields))
    }

    async fn reopened(&self, candidate: &Candidate) -> Result<Identified, IdentifyError> {
        let opened = self.open(&candidate.found.path).await?;
        self.anew(candidate, opened).await
    }

    async fn go_on(
        &self,
        candidate: &Candidate,
        mut opened: Opened,
        current: &Delivery,
        mut begun: Begun,
    ) -> Result<Identified, IdentifyError> {
        let start = match self.start(&opened, &current.path).await {
            Ok(start) => start,
            Err(HeaderError::Cut) => return Ok(unchanged(current, &opened, false)),
            Err(error) => return self.fail(&opened, &current.path, error.to_string()).await,
        };
        if !start.whole {
            opened.bytes = opened.bytes.ended();
            begun = begun.end();
        }
        let noted = trusted(begun.bytes.noted);
        // What was not verified wholly is looked at once more when the file is quiet.
        let noted = if begun.verified { noted } else { Noted { ctime: 0, ..noted } };
        let how = Continuation { noted, head: opened.head.clone(), detail: seen(current, &begun) };
        let delivery = self.patience.with(|| self.store.reopen(current.id, how.clone())).await?;
        // A provisional record that was in quarantine is read anew.
        metrics::taken_back(current.receipt.open().saturating_sub(delivery.receipt.open()));
        let from = delivery.reach;
        // Without a record so far the header is read again: it may have grown too.
        if from.record == 0 && start.mark.offset > from.offset {
            let framer = framer(self.max_record_bytes, from, start.mark, &opened.read);
            let ends = (opened.head(), opened.window());
            return Ok(self.work(candidate, delivery, start, opened.bytes, framer, ends));
        }
        let mut framer = Framer::new(self.max_record_bytes, from, from, begun.hasher);
        framer.bytes().extend_from_slice(&begun.buffered);
        let ends = (opened.head(), begun.window);
        Ok(self.work(candidate, delivery, start, begun.bytes, framer, ends))
    }

    /// A new delivery: of a new path, or a new generation.
    async fn anew(&self, candidate: &Candidate, mut opened: Opened) -> Result<Identified, IdentifyError> {
        let path = &candidate.found.path;
        let start = match self.start(&opened, path).await {
            Ok(start) => start,
            Err(HeaderError::Missing { .. }) if opened.is_bare_header() && !candidate.complete => {
                let detail = "its header is not whole yet".to_owned();
                return Ok(Identified::Entered(DeliveryId(0), State::Waiting, detail));
            }
            Err(error @ HeaderError::Cut) => {
                let verdict = Verdict::Incomplete { detail: error.to_string() };
                return self.enter(&opened, path, verdict).await;
            }
            Err(error) => return self.fail(&opened, path, error.to_string()).await,
        };
        let has_records = !(opened.ended && start.mark.offset >= opened.read.len() as u64);
        if has_records && self.taking != Taking::Again {
            opened = match self.unlike(path, opened).await? {
                ControlFlow::Continue(opened) => opened,
                ControlFlow::Break(identified) => return Ok(identified),
            };
        }
        if self.taking == Taking::Assumed {
            return self.assume(&opened, path).await;
        }
        if !start.whole {
            // What its writer adds meanwhile is not read by a header that it may belong to.
            opened.bytes = opened.bytes.ended();
        }
        let records = opened.records(start.mapping.fields);
        let entry = self.entry(&opened, path, Verdict::Load { records });
        let delivery = self.patience.with(|| self.store.take_up(entry.clone())).await?;
        let framer = framer(self.max_record_bytes, Mark::default(), start.mark, &opened.read);
        let ends = (opened.head(), opened.window());
        Ok(self.work(candidate, delivery, start, opened.bytes, framer, ends))
    }

    /// Reads it to its end and enters it, without its rows.
    async fn assume(&self, opened: &Opened, path: &str) -> Result<Identified, IdentifyError> {
        let found = assumed::read(&self.inbox, path, &self.plan, self.max_record_bytes).await?;
        if found.noted != opened.bytes.noted {
            return Err(io::Error::other("it changed while it was read").into());
        }
        let entry = self.entry(opened, path, found.verdict);
        let delivery = self.patience.with(|| self.store.take_up(entry.clone())).await?;
        Ok(Identified::Assumed(Box::new(delivery)))
    }

    fn work(
        &self,
        candidate: &Candidate,
        delivery: Delivery,
        start: Start,
        bytes: ByteSource,
        framer: Framer,
        (head, window): (Head, Window),
    ) -> Identified {
        let changed = UNIX_EPOCH + Duration::from_nanos(bytes.noted.ctime.try_into().unwrap_or(0));
        let source = Source {
            id: delivery.id,
            file_date: inbox::date(&delivery.path),
            path: delivery.path,
            header: start.header,
            mapping: start.mapping,
            arrived: changed.max(self.started),
            records_before: delivery.reach.record,
            quarantined_before: delivery.receipt.quarantined,
            halt: CancellationToken::new(),
        };
        let id = delivery.id;
        let (source, stamps, complete) = (Arc::new(source), delivery.stamps, candidate.complete);
        let noted = delivery.noted;
        Identified::Work(Box::new(Work { source, stamps, bytes, noted, framer, complete, window, head }), id)
    }

    fn entry(&self, opened: &Opened, path: &str, verdict: Verdict) -> Entry {
        let noted = match verdict {
            // It is not looked at again until its times change, or it would fail at every listing.
            Verdict::Failed { .. } | Verdict::Incomplete { .. } => opened.bytes.noted,
            _ => trusted(opened.bytes.noted),
        };
        let (path, head) = (path.to_owned(), opened.head.clone());
        let (fingerprint, attempt) = (self.plan.fingerprint.clone(), self.plan.attempt.clone());
        Entry { path, head, noted, fingerprint, attempt, verdict }
    }

    async fn enter(
        &self,
        opened: &Opened,
        path: &str,
        verdict: Verdict,
    ) -> Result<Identified, IdentifyError> {
        let entry = self.entry(opened, path, verdict);
        let delivery = self.patience.with(|| self.store.take_up(entry.clone())).await?;
        Ok(Identified::Entered(delivery.id, delivery.state, delivery.detail))
    }

    async fn fail(&self, opened: &Opened, path: &str, detail: String) -> Result<Identified, IdentifyError> {
        self.enter(opened, path, Verdict::Failed { detail }).await
    }

    async fn start(&self, opened: &Opened, path: &str) -> Result<Start, HeaderError> {
        let wants_date = self.plan.columns.iter().any(|column| column.origin == Origin::FileDate);
        if wants_date && inbox::date(path).is_none() {
            return Err(HeaderError::NoDate);
        }
        start(opened, &self.plan).await
    }

    /// The file as it was opened, unless its bytes are those of another delivery or may turn out to be.
    async fn unlike(
        &self,
        path: &str,
        mut opened: Opened,
    ) -> Result<ControlFlow<Identified, Opened>, IdentifyError> {
        Ok(match self.alike(path, &mut opened).await? {
            Alike::Other => ControlFlow::Continue(opened),
            Alike::OtherButRead => ControlFlow::Continue(self.open(path).await?),
            Alike::Behind(id, path) => ControlFlow::Break(Identified::Behind(id, path)),
            Alike::Same(verdict) => ControlFlow::Break(self.enter(&opened, path, *verdict).await?),
        })
    }

    /// Compares with deliveries that begin with the same bytes.
    async fn alike(&self, path: &str, opened: &mut Opened) -> Result<Alike, IdentifyError> {
        let head = opened.head.clone();
        let mut alike = self.patience.with(|| self.store.deliveries(Filter::Head(head.clone()))).await?;
        alike.retain(|other| other.path != path && (other.state == State::Loading || other.reach.record > 0));
        if self.taking == Taking::Assumed {
            // One that an earlier run left is not for this run to go on with.
            alike.retain(|other| other.state != State::Loading);
        }
        if alike.is_empty() {
            return Ok(Alike::Other);
        }
        if let Some(other) = alike.iter().find(|other| other.state == State::Loading) {
            return Ok(Alike::Behind(other.id, other.path.clone()));
        }
        let (hash, len) = opened.hash_whole().await?;
        // That it is corrupt is told by loading it, also where the rest of it is known.
        let corrupt = matches!(opened.bytes.broken(), Some(Broken::Corrupt(_)));
        for other in alike.iter().filter(|_| !corrupt) {
            let same = match other.state {
                State::Loaded => other.hash == hash && other.reach.offset == len,
                // Its hash does not cover the record that is not whole.
                State::Incomplete => self.is_still(&other.path, &hash).await,
                _ => false,
            };
            if same {
                // What is not whole of it is the same too: by all its bytes a copy is known again.
                let reach = Mark { offset: len, ..other.reach };
                let (of, same_as) = (other.id, other.path.clone());
                return Ok(Alike::Same(Box::new(Verdict::Duplicate { of, same_as, reach, hash })));
            }
        }
        Ok(Alike::OtherButRead)
    }

    /// Whether this file, as it is now, has these bytes.
    async fn is_still(&self, path: &str, hash: &str) -> bool {
        match self.open(path).await {
            Ok(mut other) => other.hash_whole().await.is_ok_and(|(found, _)| found == hash),
            Err(_) => false,
        }
    }
}

/// What comparing with deliveries of the same head gave.
enum Alike {
    Other,
    /// No other has these bytes; to know that, the file was read to its end.
    OtherButRead,
    Same(Box<Verdict>),
    Behind(DeliveryId, String),
}

/// What was noted of a file and is not so any more, or can be trusted only now.
fn unchanged(current: &Delivery, opened: &Opened, verified: bool) -> Identified {
    let noted = trusted(opened.bytes.noted);
    let amendment = Amendment {
        noted: (noted != current.noted).then_some(noted),
        head: (opened.head != current.head).then(|| opened.head.clone()),
        ..Amendment::default()
    };
    let (id, state, noted) = (current.id, current.state, opened.bytes.noted);
    Identified::Unchanged(Same { id, state, noted, verified, amendment })
}

/// What `status` says of a delivery that is gone on with.
fn seen(current: &Delivery, begun: &Begun) -> String {
    let grown = begun.bytes.noted.size.saturating_sub(current.noted.size);
    let ended = matches!(current.state, State::Loaded | State::Incomplete);
    let what = if ended && grown > 0 {
        format!("grew by {}", text::bytes(grown))
    } else {
        format!("continued at byte {}", current.reach.offset)
    };
    let verified = if begun.verified { "beginning" } else { "head and last 64 KiB before that" };
    format!("{what}, its {verified} verified")
}

/// Whether looking at its head and its last bytes is enough: a plain file that is still growing.
fn is_trailed(delivery: &Delivery, opened: &Opened) -> bool {
    let grew = opened.bytes.noted.size > delivery.reach.offset && opened.bytes.is_plain();
    let same_head = delivery.reach.offset < HEAD as u64 || delivery.head == opened.head;
    grew && same_head && delivery.provisional.is_none()
}
