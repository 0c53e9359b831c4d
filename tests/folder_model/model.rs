//! The expected contents of the ledger, by rules that are as plain as possible: texts are compared, and nothing is
//! hashed.

use std::collections::{BTreeMap, BTreeSet};

/// The number of bytes by which files are first compared.
const HEAD: usize = 64 * 1024;

/// A file in the folder.
#[derive(Clone, Debug)]
struct File {
    text: String,
    size: u64,
    /// Whether the file was changed since a run last examined it.
    touched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Loading,
    Loaded,
    Incomplete,
    Replaced,
    Duplicate,
    Failed,
}

#[derive(Clone, Debug)]
pub struct Delivery {
    pub path: String,
    pub generation: u32,
    pub state: State,
    /// The durable part of the text; for a duplicate, the whole text.
    pub text: String,
    /// Whether the last record was loaded without a line end.
    tail: bool,
    /// How often growth showed that such a tail was incomplete. After that, no tail is loaded here, because the files
    /// are too young.
    strikes: u32,
    /// Whether its records in quarantine were discarded, because a newer generation reads them again.
    discarded: bool,
    head: String,
    size: u64,
}

/// A delivery as the ledger has it: path, generation, state, bytes, records, loaded, quarantined.
pub type Line = (String, u32, String, u64, u64, u64, u64);

#[derive(Clone, Debug, Default)]
pub struct Model {
    files: BTreeMap<String, File>,
    /// The deliveries in the order in which they were taken up.
    pub deliveries: Vec<Delivery>,
}

/// A record: its fields by column (k, v, w), or `None` if it goes to quarantine.
pub type Record = Option<[String; 3]>;

impl Delivery {
    /// Returns the durable records, in order.
    pub fn records(&self) -> Vec<Record> {
        if self.state == State::Duplicate { Vec::new() } else { records(&self.text) }
    }

    pub fn line(&self) -> Line {
        let records = self.records();
        let loaded = records.iter().flatten().count() as u64;
        let all = records.len() as u64;
        let state = format!("{:?}", self.state).to_lowercase();
        let bytes = self.text.len() as u64;
        (self.path.clone(), self.generation, state, bytes, all, loaded, all - loaded)
    }

    fn has_records(&self) -> bool {
        !records(&self.text).is_empty()
    }

    /// Whether the delivery is compared with this text. A failed delivery is over, unless all of its records were refused
    /// and more follow.
    fn may_go_on(&self, text: &str) -> bool {
        let more = text.strip_prefix(self.text.as_str());
        let is_more =
            more.is_some_and(|more| if self.tail { more.starts_with('\n') } else { !more.is_empty() });
        self.state != State::Failed || (self.has_records() && is_more)
    }

    /// Ends a generation when the next one of its file begins. A failed generation with open records in quarantine stays
    /// if the next one reads none.
    fn replace(&mut self, next_reads: bool, is_newest: bool) {
        let is_replaced = match self.state {
            State::Loading | State::Incomplete => is_newest,
            State::Failed if self.has_records() && !self.discarded => next_reads,
            State::Failed => is_newest,
            _ => false,
        };
        if is_replaced {
            self.state = State::Replaced;
        }
    }
}

/// Returns the positions of the columns and the number of fields, or `None` if the header is unusable.
fn header(text: &str) -> Option<([usize; 3], usize)> {
    let names: Vec<&str> = text.split('\n').find(|line| !line.is_empty())?.split(',').collect();
    let find = |column: &str| names.iter().position(|name| *name == column);
    Some(([find("k")?, find("v")?, find("w")?], names.len()))
}

/// Whether a file can be loaded. A file without a record may have no header.
fn serves(text: &str) -> bool {
    header(text).is_some() || text.bytes().all(|byte| byte == b'\n')
}

fn records(text: &str) -> Vec<Record> {
    let Some((places, fields)) = header(text) else { return Vec::new() };
    let lines = text.split('\n').filter(|line| !line.is_empty()).skip(1);
    lines.map(|line| record(line, places, fields)).collect()
}

fn record(line: &str, places: [usize; 3], fields: usize) -> Record {
    let found: Vec<&str> = line.split(',').collect();
    if found.len() != fields || found[places[0]].is_empty() {
        return None;
    }
    Some(places.map(|place| found[place].to_owned()))
}

/// Returns the part of a file that can be loaded, and whether that is the whole file.
fn loadable(text: &str, strikes: u32) -> (&str, bool) {
    let Some((_, fields)) = header(text) else { return (text, true) };
    let end = text.rfind('\n').map_or(0, |at| at + 1);
    let tail = &text[end..];
    let is_header = text[..end].bytes().all(|byte| byte == b'\n');
    if tail.is_empty() || is_header {
        return (text, tail.is_empty() || strikes == 0);
    }
    if tail.split(',').count() >= fields && strikes == 0 {
        return (text, true);
    }
    (&text[..end], false)
}

/// Returns the state of a delivery with this text. A complete file of which nothing can be loaded fails.
fn state(text: &str, whole: bool) -> State {
    let records = records(text);
    let is_refused = !records.is_empty() && records.iter().all(Option::is_none);
    match (whole, is_refused) {
        (false, _) => State::Incomplete,
        (true, true) => State::Failed,
        (true, false) => State::Loaded,
    }
}

/// Whether a file has only a header without a line end, and its writer may not have finished.
fn header_waits(text: &str, strikes: u32) -> bool {
    strikes > 0 && !text.is_empty() && !text.trim_start_matches('\n').contains('\n') && !text.ends_with('\n')
}

fn head(text: &str) -> &str {
    &text[..text.len().min(HEAD)]
}

impl Model {
    pub fn text(&self, path: &str) -> Option<String> {
        self.files.get(path).map(|file| file.text.clone())
    }

    pub fn put(&mut self, path: &str, text: String, size: u64) {
        self.files.insert(path.to_owned(), File { text, size, touched: true });
    }

    pub fn delete(&mut self, path: &str) {
        self.files.remove(path);
    }

    pub fn seen(&self) -> Vec<Line> {
        self.deliveries.iter().map(Delivery::line).collect()
    }

    fn newest(&self, path: &str) -> Option<usize> {
        self.deliveries.iter().rposition(|delivery| delivery.path == path)
    }

    /// Predicts a complete `run --once`.
    pub fn run(&mut self) {
        for at in 0..self.deliveries.len() {
            let delivery = &self.deliveries[at];
            let is_open = matches!(delivery.state, State::Loading | State::Incomplete);
            if is_open && self.newest(&delivery.path) == Some(at) && !self.files.contains_key(&delivery.path)
            {
                self.deliveries[at].state = State::Replaced;
            }
        }
        let mut left: BTreeSet<String> = self.files.keys().cloned().collect();
        while let Some(path) = left.first().cloned() {
            self.identify(&path, &mut left);
        }
    }

    fn identify(&mut self, path: &str, left: &mut BTreeSet<String>) {
        if !left.remove(path) {
            return;
        }
        let newest = self.newest(path);
        let is_begun =
            newest.is_some_and(|at| matches!(self.deliveries[at].state, State::Loading | State::Replaced));
        let touched = std::mem::take(&mut self.files.get_mut(path).unwrap().touched);
        if !touched && !is_begun {
            return;
        }
        let file = self.files[path].clone();
        match newest {
            Some(at) if self.deliveries[at].may_go_on(&file.text) => self.known(at, &file, left),
            newest => {
                let strikes = newest.map_or(0, |at| self.deliveries[at].strikes);
                self.new_delivery(path, &file, strikes, left);
            }
        }
    }

    /// Handles the file of a known delivery, which has the same bytes, more bytes, or other bytes.
    fn known(&mut self, at: usize, file: &File, left: &mut BTreeSet<String>) {
        let current = self.deliveries[at].clone();
        let Some(rest) = file.text.strip_prefix(&current.text) else {
            return self.new_delivery(&current.path, file, current.strikes, left);
        };
        if current.tail && !rest.is_empty() && !rest.starts_with('\n') {
            return self.new_delivery(&current.path, file, current.strikes + 1, left);
        }
        let (text, whole) = loadable(&file.text, current.strikes);
        let goes_on = match current.state {
            State::Loading | State::Replaced => true,
            State::Incomplete if current.size == file.size => text != current.text,
            State::Incomplete => true,
            _ => !rest.is_empty(),
        };
        if !goes_on {
            return;
        }
        if current.state == State::Duplicate {
            return self.new_delivery(&current.path, file, current.strikes, left);
        }
        if !serves(&file.text) {
            return self.enter(&current.path, file, State::Failed, String::new(), current.strikes);
        }
        let has_none = !current.has_records() || current.state == State::Failed;
        if has_none && self.is_another(&current.path, file, current.strikes, left) {
            return;
        }
        let state = state(text, whole);
        let (text, head) = (text.to_owned(), head(&file.text).to_owned());
        let tail = is_open(state, &text);
        self.deliveries[at] = Delivery { state, text, tail, head, size: file.size, ..current };
    }

    /// Handles a file that needs a new delivery: a new path, or a new generation.
    fn new_delivery(&mut self, path: &str, file: &File, strikes: u32, left: &mut BTreeSet<String>) {
        if header_waits(&file.text, strikes) {
            return;
        }
        if !serves(&file.text) {
            return self.enter(path, file, State::Failed, String::new(), strikes);
        }
        let is_bare = file.text.trim_end_matches('\n').find('\n').is_none();
        let has_more = !is_bare || file.text.ends_with("\n\n");
        if has_more && self.is_another(path, file, strikes, left) {
            return;
        }
        let (text, whole) = loadable(&file.text, strikes);
        let (text, state) = (text.to_owned(), state(text, whole));
        self.enter(path, file, state, text, strikes);
    }

    /// Whether a file is a duplicate. Interrupted files with the same head are identified first.
    fn is_another(&mut self, path: &str, file: &File, strikes: u32, left: &mut BTreeSet<String>) -> bool {
        while let Some(other) = self.begun_alike(path, file) {
            let first = self.deliveries[other].path.clone();
            if left.contains(&first) {
                self.identify(&first, left);
            } else {
                self.deliveries[other].state = State::Replaced;
            }
        }
        let is = self.alike(path, file).any(|at| self.is_same(at, file, strikes));
        if is {
            self.enter(path, file, State::Duplicate, file.text.clone(), strikes);
        }
        is
    }

    /// Returns an interrupted delivery for which this file waits. An interrupted one waits only for earlier ones.
    fn begun_alike(&self, path: &str, file: &File) -> Option<usize> {
        let is_begun = |at: &usize| self.deliveries[*at].state == State::Loading;
        let own = self.newest(path).filter(is_begun);
        self.alike(path, file).find(|at| is_begun(at) && own.is_none_or(|own| *at < own))
    }

    fn alike<'m>(&'m self, path: &'m str, file: &'m File) -> impl Iterator<Item = usize> + 'm {
        (0..self.deliveries.len()).filter(move |at| {
            let other = &self.deliveries[*at];
            let counts = match other.state {
                State::Loading => true,
                State::Loaded | State::Incomplete => other.has_records(),
                _ => false,
            };
            counts && other.path != path && other.head == head(&file.text)
        })
    }

    fn is_same(&self, at: usize, file: &File, strikes: u32) -> bool {
        let other = &self.deliveries[at];
        match other.state {
            State::Loaded => other.text == file.text,
            // Only the file has the record that is not complete.
            _ => {
                let is_still = self.text(&other.path).is_some_and(|text| text == file.text);
                is_still && loadable(&file.text, strikes).0.len() <= other.text.len()
            }
        }
    }

    fn enter(&mut self, path: &str, file: &File, state: State, text: String, strikes: u32) {
        let before = self.newest(path);
        for (at, other) in self.deliveries.iter_mut().enumerate().filter(|(_, other)| other.path == path) {
            other.replace(state != State::Failed || !text.is_empty(), Some(at) == before);
        }
        let generation = before.map_or(0, |at| self.deliveries[at].generation) + 1;
        let (path, head, size) = (path.to_owned(), head(&file.text).to_owned(), file.size);
        let tail = is_open(state, &text);
        let discarded = false;
        self.deliveries.push(Delivery {
            path,
            generation,
            state,
            text,
            tail,
            strikes,
            discarded,
            head,
            size,
        });
    }

    /// Adopts the contents of the ledger after a killed run. Each delivery must be as before the run, as after it,
    /// or partly loaded. A run that recorded only the new head of a file changed no line. `is_noted` is whether the ledger
    /// has the times of a delivery's file, so that the file counts as unchanged. `is_discarded` is whether its records in
    /// quarantine were discarded.
    pub fn was_killed(
        &mut self,
        seen: &[Line],
        has_new_head: impl Fn(usize) -> bool,
        is_noted: impl Fn(usize) -> bool,
        is_discarded: impl Fn(usize) -> bool,
    ) {
        let mut after = self.clone();
        after.run();
        for (at, line) in seen.iter().enumerate() {
            let [before, end] = [self.deliveries.get(at).cloned(), after.deliveries.get(at).cloned()];
            let found = [before, end.clone()].into_iter().flatten().find(|delivery| delivery.line() == *line);
            let mut found = found.unwrap_or_else(|| on_its_way(self.deliveries.get(at), end.as_ref(), line));
            if let Some(end) = end.filter(|_| has_new_head(at)) {
                found.head = end.head;
            }
            found.discarded = is_discarded(at);
            if at < self.deliveries.len() { self.deliveries[at] = found } else { self.deliveries.push(found) }
        }
        assert!(seen.len() >= self.deliveries.len(), "a delivery disappeared: {seen:?}");
        // A failed file is not tried again unchanged.
        let newest =
            |all: &[Delivery], path: &str| all.iter().rfind(|other| other.path == *path).map(Delivery::line);
        for (path, file) in &mut self.files {
            let line = newest(&self.deliveries, path);
            let at = self.deliveries.iter().rposition(|other| other.path == *path);
            let has_failed =
                line.as_ref().is_some_and(|line| line.2 == "failed") && at.is_some_and(&is_noted);
            file.touched &= !(has_failed && line == newest(&after.deliveries, path));
        }
    }
}

/// Whether the last record of a delivery's text was read without a line end.
fn is_open(state: State, text: &str) -> bool {
    matches!(state, State::Loaded | State::Failed) && !text.is_empty() && !text.ends_with('\n')
}

fn on_its_way(before: Option<&Delivery>, end: Option<&Delivery>, line: &Line) -> Delivery {
    let end = end.unwrap_or_else(|| panic!("unexpected delivery {line:?}"));
    let bytes = usize::try_from(line.3).unwrap();
    let text = end.text.get(..bytes).unwrap_or_else(|| panic!("{line:?} is beyond {end:?}")).to_owned();
    // The earlier tail stays known until the delivery is continued.
    let tail = before.is_some_and(|before| before.tail && before.text == text);
    let found = Delivery { state: State::Loading, text, tail, ..end.clone() };
    assert_eq!(found.line(), *line, "not a stage before {end:?}");
    found
}
