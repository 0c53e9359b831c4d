//! What a file is: content decides, never its inode, its times or its first line alone (law 4).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::inbox::{self, Inbox};
use super::waiting::Candidate;
use crate::domain::header::HeaderError;
use crate::domain::{Delivery, DeliveryId, Header, Mapping, Mark, Noted, Origin, Plan, Source, State, stamp};
use crate::ledger::{Entry, Filter, HEAD, Verdict};
use crate::pipeline::read::frame::{Framer, Tail};
use crate::pipeline::read::source::ByteSource;
use crate::pipeline::read::{Work, split};
use crate::store::patience::Patience;
use crate::store::{Store, StoreError};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// How many times longer than compressed the text of a compressed file is taken to be: with less the
/// file takes a further range of stamps.
const EXPANSION: u64 = 32;

/// A change younger than this may be followed by another that leaves the same times.
const TRUSTED_AFTER: Duration = Duration::from_secs(2);

/// Identifies files against the ledger and takes them up.
pub struct Identify<S> {
    pub store: Arc<S>,
    pub plan: Arc<Plan>,
    pub inbox: Inbox,
    pub patience: Patience,
    pub max_record_bytes: usize,
    /// Every file is a new generation, whatever the ledger knows.
    pub again: bool,
    /// No file before this is counted as having waited longer.
    pub started: SystemTime,
}

/// What a file turned out to be.
pub enum Identified {
    /// As the ledger knows it. It was looked at just now, so its size and times can be trusted.
    Unchanged(DeliveryId, Noted),
    /// To be read.
    Work(Box<Work>, DeliveryId),
    /// Nothing to read: entered into the ledger in this state.
    Entered(State, String),
    /// Its first bytes are those of a delivery that is still being loaded.
    Behind(DeliveryId, String),
}

/// Why a file could not be identified.
#[derive(Debug, thiserror::Error)]
pub enum IdentifyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    File(#[from] io::Error),
}

/// The beginning of a file, and how to read on.
struct Opened {
    bytes: ByteSource,
    /// What was read so far, from the beginning.
    read: Vec<u8>,
    head: String,
    /// The end of the file is in `read`.
    ended: bool,
}

/// Where the records of a file begin, and which field is which.
struct Start {
    mapping: Mapping,
    mark: Mark,
}

impl<S: Store> Identify<S> {
    /// Looks at one file.
    ///
    /// # Errors
    /// When the file cannot be read or the store does not answer.
    pub async fn identify(&self, candidate: &Candidate) -> Result<Identified, IdentifyError> {
        let path = &candidate.found.path;
        let opened = open(&self.inbox.place(path)).await?;
        let current = self.generations(path).await?.pop();
        match current {
            Some(current) if !self.again => self.known(candidate, opened, current).await,
            _ => self.anew(candidate, opened).await,
        }
    }

    async fn generations(&self, path: &str) -> Result<Vec<Delivery>, StoreError> {
        self.patience.with(|| self.store.deliveries(Filter::Path(path.to_owned()))).await
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
        let Some(begun) = Begun::verify(&place, &current).await? else {
            return self.reopened(candidate).await;
        };
        let resumes = current.state == State::Loading || current.state == State::Replaced;
        let more =
            begun.has_more && !(current.state == State::Incomplete && current.noted.size == noted.size);
        if !resumes && !more {
            return Ok(Identified::Unchanged(current.id, noted));
        }
        // A duplicate that grew, and one begun under another configuration, are loaded whole.
        if current.state == State::Duplicate || current.fingerprint != self.plan.fingerprint {
            return self.reopened(candidate).await;
        }
        self.go_on(candidate, opened, &current, begun).await
    }

    async fn reopened(&self, candidate: &Candidate) -> Result<Identified, IdentifyError> {
        let opened = open(&self.inbox.place(&candidate.found.path)).await?;
        self.anew(candidate, opened).await
    }

    async fn go_on(
        &self,
        candidate: &Candidate,
        opened: Opened,
        current: &Delivery,
        begun: Begun,
    ) -> Result<Identified, IdentifyError> {
        let start = match self.start(&opened, &current.path).await {
            Ok(start) => start,
            Err(error) => return self.fail(&opened, &current.path, error.to_string()).await,
        };
        let noted = trusted(begun.bytes.noted);
        let delivery = self.patience.with(|| self.store.reopen(current.id, noted)).await?;
        let from = delivery.reach;
        // Without a record so far the header is read again: it may have grown too.
        if from.record == 0 && start.mark.offset > from.offset {
            let framer = framer(self.max_record_bytes, from, start.mark, &opened.read);
            return Ok(self.work(candidate, delivery, start.mapping, opened.bytes, framer));
        }
        let mut framer = Framer::new(self.max_record_bytes, from, from, begun.hasher);
        framer.bytes().extend_from_slice(&begun.buffered);
        Ok(self.work(candidate, delivery, start.mapping, begun.bytes, framer))
    }

    /// A new delivery: of a new path, or a new generation.
    async fn anew(&self, candidate: &Candidate, mut opened: Opened) -> Result<Identified, IdentifyError> {
        let path = &candidate.found.path;
        let start = match self.start(&opened, path).await {
            Ok(start) => start,
            Err(HeaderError::Missing { .. }) if opened.is_bare_header() && !candidate.complete => {
                return Ok(Identified::Entered(State::Waiting, "its header is not whole yet".to_owned()));
            }
            Err(error) => return self.fail(&opened, path, error.to_string()).await,
        };
        let has_records = !(opened.ended && start.mark.offset >= opened.read.len() as u64);
        if has_records && !self.again {
            match self.alike(path, &mut opened).await? {
                Alike::Other => {}
                Alike::Behind(id, path) => return Ok(Identified::Behind(id, path)),
                Alike::Same(verdict) => return self.enter(&opened, path, *verdict).await,
                Alike::OtherButRead => opened = open(&self.inbox.place(path)).await?,
            }
        }
        let size = opened.size();
        let records = stamp::records_in(size, start.mapping.fields);
        let entry = self.entry(&opened, path, Verdict::Load { records });
        let delivery = self.patience.with(|| self.store.take_up(entry.clone())).await?;
        let framer = framer(self.max_record_bytes, Mark::default(), start.mark, &opened.read);
        Ok(self.work(candidate, delivery, start.mapping, opened.bytes, framer))
    }

    fn work(
        &self,
        candidate: &Candidate,
        delivery: Delivery,
        mapping: Mapping,
        bytes: ByteSource,
        framer: Framer,
    ) -> Identified {
        let changed = UNIX_EPOCH + Duration::from_nanos(bytes.noted.ctime.try_into().unwrap_or(0));
        let source = Source {
            id: delivery.id,
            file_date: inbox::date(&delivery.path),
            path: delivery.path,
            mapping,
            arrived: changed.max(self.started),
            records_before: delivery.reach.record,
            quarantined_before: delivery.receipt.quarantined,
            halt: CancellationToken::new(),
        };
        let id = delivery.id;
        let (source, stamps, complete) = (Arc::new(source), delivery.stamps, candidate.complete);
        Identified::Work(Box::new(Work { source, stamps, bytes, framer, complete }), id)
    }

    fn entry(&self, opened: &Opened, path: &str, verdict: Verdict) -> Entry {
        let noted = match verdict {
            // It is not looked at again until its times change, or it would fail at every listing.
            Verdict::Failed { .. } => opened.bytes.noted,
            _ => trusted(opened.bytes.noted),
        };
        let (path, head) = (path.to_owned(), opened.head.clone());
        Entry { path, head, noted, fingerprint: self.plan.fingerprint.clone(), verdict }
    }

    async fn enter(
        &self,
        opened: &Opened,
        path: &str,
        verdict: Verdict,
    ) -> Result<Identified, IdentifyError> {
        let entry = self.entry(opened, path, verdict);
        let delivery = self.patience.with(|| self.store.take_up(entry.clone())).await?;
        Ok(Identified::Entered(delivery.state, delivery.detail))
    }

    async fn fail(&self, opened: &Opened, path: &str, detail: String) -> Result<Identified, IdentifyError> {
        self.enter(opened, path, Verdict::Failed { detail }).await
    }

    async fn start(&self, opened: &Opened, path: &str) -> Result<Start, HeaderError> {
        let wants_date = self.plan.columns.iter().any(|column| column.origin == Origin::FileDate);
        if wants_date && inbox::date(path).is_none() {
            return Err(HeaderError::NoDate);
        }
        start(&opened.read, opened.ended, &self.plan).await
    }

    /// Compares with deliveries that begin with the same bytes.
    async fn alike(&self, path: &str, opened: &mut Opened) -> Result<Alike, IdentifyError> {
        let head = opened.head.clone();
        let mut alike = self.patience.with(|| self.store.deliveries(Filter::Head(head.clone()))).await?;
        alike.retain(|other| other.path != path && (other.state == State::Loading || other.reach.record > 0));
        if alike.is_empty() {
            return Ok(Alike::Other);
        }
        if let Some(other) = alike.iter().find(|other| other.state == State::Loading) {
            return Ok(Alike::Behind(other.id, other.path.clone()));
        }
        let (hash, len) = opened.hash_whole().await?;
        let same = alike
            .iter()
            .find(|other| other.state == State::Loaded && other.hash == hash && other.reach.offset == len);
        Ok(match same {
            Some(other) => Alike::Same(Box::new(Verdict::Duplicate {
                of: other.id,
                same_as: other.path.clone(),
                reach: other.reach,
                hash,
            })),
            None => Alike::OtherButRead,
        })
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

impl Opened {
    fn size(&self) -> u64 {
        let file = self.bytes.noted.size;
        let expanded = if self.bytes.compressed { file.saturating_mul(EXPANSION) } else { file };
        expanded.max(self.read.len() as u64)
    }

    fn is_bare_header(&self) -> bool {
        self.ended && !self.read.contains(&b'\n')
    }

    /// Reads to the end, keeping nothing, for the hash and the count of all bytes.
    async fn hash_whole(&mut self) -> io::Result<(String, u64)> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.read);
        let mut len = self.read.len() as u64;
        let mut part = Vec::new();
        while !self.ended && self.bytes.read(&mut part).await? > 0 {
            hasher.update(&part);
            len += part.len() as u64;
            part.clear();
        }
        Ok((hasher.finalize().to_hex().to_string(), len))
    }
}

async fn open(place: &Path) -> io::Result<Opened> {
    let mut bytes = ByteSource::open(place).await?;
    let mut read = Vec::new();
    match bytes.read_up_to(&mut read, HEAD).await {
        // What is whole of a cut-off compressed file is loaded; reading meets the cut again.
        Err(error) if bytes.compressed && error.kind() == io::ErrorKind::UnexpectedEof => {}
        other => other?,
    }
    let ended = read.len() < HEAD;
    let head = blake3::hash(read.get(..HEAD).unwrap_or(&read)).to_hex().to_string();
    Ok(Opened { bytes, read, head, ended })
}

/// Finds the header in the first bytes of a file.
async fn start(read: &[u8], ended: bool, plan: &Plan) -> Result<Start, HeaderError> {
    let bom = if read.starts_with(BOM) { BOM.len() } else { 0 };
    let begin = Mark { offset: bom as u64, ..Mark::default() };
    let mut framer = Framer::new(HEAD, begin, begin, blake3::Hasher::new());
    framer.bytes().extend_from_slice(&read[bom..]);
    framer.scan(1);
    if framer.records() == 0 {
        match framer.tail() {
            // Nothing at all: loaded with no records, whatever is declared.
            Tail::Nothing if ended => {
                let mark = Mark { offset: read.len() as u64, record: 0, line: 0 };
                let mapping = Mapping { fields: 0, field_of: vec![None; plan.columns.len()] };
                return Ok(Start { mapping, mark });
            }
            Tail::Record(_) if ended => {
                framer.close_tail();
            }
            _ => return Err(HeaderError::TooLong(HEAD)),
        }
    }
    let cut = framer.cut();
    let Some(frame) = cut.frames.first() else { return Err(HeaderError::TooLong(HEAD)) };
    let fields = split(&cut.bytes[frame.start..frame.start + frame.len]).await;
    let names = fields.iter().map(|name| std::str::from_utf8(name).map(str::to_owned));
    let names: Vec<String> =
        names.collect::<Result<_, _>>().map_err(|error| HeaderError::Encoding(error.valid_up_to()))?;
    let mapping = Header(names).map(plan)?;
    Ok(Start { mapping, mark: Mark { record: 0, ..cut.span.to } })
}

/// Times that are too young to be trusted are noted so that they never compare equal.
pub fn trusted(noted: Noted) -> Noted {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let changed = Duration::from_nanos(noted.ctime.try_into().unwrap_or(0));
    let ctime = if now.saturating_sub(changed) >= TRUSTED_AFTER { noted.ctime } else { 0 };
    Noted { ctime, ..noted }
}

/// A file whose beginning is what was loaded, open at its first record.
pub struct Beginning {
    pub mapping: Mapping,
    pub framer: Framer,
    pub bytes: ByteSource,
}

impl Beginning {
    /// Verifies that the file still begins with what was loaded.
    ///
    /// # Errors
    /// Why it does not, in words.
    pub async fn of(place: &Path, delivery: &Delivery, plan: &Plan, limit: usize) -> Result<Self, String> {
        let verified = Begun::verify(place, delivery).await.map_err(|error| error.to_string())?;
        if verified.is_none() {
            return Err("its bytes are not those that were loaded".to_owned());
        }
        Self::unverified(place, plan, limit).await
    }

    /// Hash of all decoded bytes.
    ///
    /// # Errors
    /// What the system says.
    pub async fn hash(place: &Path) -> io::Result<String> {
        Ok(open(place).await?.hash_whole().await?.0)
    }

    /// Takes the file as it is.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub async fn unverified(place: &Path, plan: &Plan, limit: usize) -> Result<Self, String> {
        let opened = open(place).await.map_err(|error| error.to_string())?;
        let start = start(&opened.read, opened.ended, plan).await.map_err(|error| error.to_string())?;
        let framer = framer(limit, Mark::default(), start.mark, &opened.read);
        Ok(Self { mapping: start.mapping, framer, bytes: opened.bytes })
    }
}

/// Frames what was read from the beginning, from the first record on.
fn framer(limit: usize, from: Mark, first: Mark, read: &[u8]) -> Framer {
    let at = usize::try_from(first.offset).unwrap_or(usize::MAX).min(read.len());
    let (before, behind) = read.split_at(at);
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    let mut framer = Framer::new(limit, from, first, hasher);
    framer.bytes().extend_from_slice(behind);
    framer
}

/// A file whose beginning is what was loaded, open behind it.
struct Begun {
    bytes: ByteSource,
    /// Decoded bytes from the mark on, as far as they were read.
    buffered: Vec<u8>,
    /// Has seen everything before `buffered`.
    hasher: blake3::Hasher,
    /// Whether the file goes on behind what is durable.
    has_more: bool,
}

impl Begun {
    /// Reads the file up to where the delivery stands. `None` when these are other bytes.
    async fn verify(place: &Path, delivery: &Delivery) -> io::Result<Option<Self>> {
        let mut bytes = ByteSource::open(place).await?;
        let (mark, _) = delivery.provisional.clone().unwrap_or((delivery.reach, String::new()));
        let mut hasher = blake3::Hasher::new();
        let mut buffered = Vec::new();
        let mut left = mark.offset;
        while left > 0 {
            buffered.clear();
            if read_or_cut(&mut bytes, &mut buffered).await? == 0 {
                return Ok(None);
            }
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(buffered.len());
            hasher.update(&buffered[..take]);
            buffered.drain(..take);
            left -= take as u64;
        }
        let provisional = usize::try_from(delivery.reach.offset - mark.offset).unwrap_or(usize::MAX);
        while buffered.len() <= provisional && read_or_cut(&mut bytes, &mut buffered).await? > 0 {}
        if buffered.len() < provisional {
            return Ok(None);
        }
        let mut whole = hasher.clone();
        whole.update(&buffered[..provisional]);
        let same = whole.finalize().to_hex().as_str() == delivery.hash;
        let has_more = buffered.len() > provisional;
        Ok(same.then_some(Self { bytes, buffered, hasher, has_more }))
    }
}

/// The cut of a compressed file is its end here; reading on meets it again.
async fn read_or_cut(bytes: &mut ByteSource, into: &mut Vec<u8>) -> io::Result<usize> {
    match bytes.read(into).await {
        Err(error) if bytes.compressed && error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        other => other,
    }
}
