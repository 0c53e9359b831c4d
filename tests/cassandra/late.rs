//! A process that lost the right to write may still have a request under way. Whenever the request arrives, it changes
//! nothing. The tests hold back each write of a story until another process has taken over.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;

use crate::common::{HEADER, World, events, until};
use crate::place::{Place, text};
use crate::proxy::Proxy;
use crate::story::Story;

const FIRST: &str = "2018-11-01-events.csv";
const SECOND: &str = "2018-11-02-events.csv";

const LOAD: &[&str] = &["run", "--once"];
const REPLAY: &[&str] = &["quarantine", "replay"];
const DISCARD: &[&str] = &["quarantine", "discard", "--all"];

/// A change of the inbox, and the command that runs after it.
struct Step {
    change: fn(&Place),
    command: &'static [&'static str],
    /// The limit for a record. Longer records go to quarantine.
    longest: &'static str,
}

const STEPS: [Step; 5] = [
    Step {
        change: |place| {
            place.drop_file(FIRST, format!("{HEADER}{}{}bad\n{}", events(0..3), long(3), events(4..5)));
            place.drop_file(SECOND, format!("{HEADER}{}", events(10..13).trim_end()));
        },
        command: LOAD,
        longest: "150",
    },
    Step {
        change: |place| {
            place.append(FIRST, format!("{}{}{}", events(0..1), events(5..6), long(6)));
            place.append(SECOND, format!("\n{}{}", long(13), events(14..15)));
        },
        command: LOAD,
        longest: "150",
    },
    Step { change: |place| grow(place, 7), command: REPLAY, longest: "1000" },
    Step { change: |place| grow(place, 8), command: DISCARD, longest: "1000" },
    Step {
        change: |place| {
            let other = events(0..9).replace("Artist", "Other");
            place.drop_file(FIRST, format!("{HEADER}{other}bad\n"));
            std::fs::copy(place.inbox().join(SECOND), place.inbox().join("copy.csv")).unwrap();
        },
        command: LOAD,
        longest: "1000",
    },
];

/// Appends a record to both files.
fn grow(place: &Place, item: u32) {
    place.append(FIRST, events(item..item + 1));
    place.append(SECOND, events(item + 10..item + 11));
}

fn long(item: u32) -> String {
    events(item..item + 1).replace("Lee", &"Lee".repeat(50))
}

/// Sets small windows, so that a file takes several of them.
fn configure(world: &mut World, longest: &str) {
    let settings = [
        ("source.settle", "100ms"),
        ("source.poll", "200ms"),
        ("source.tail_after", "500ms"),
        ("limits.max_record_bytes", longest),
        ("write.window", "2"),
        // No process waits for the lease to run out, because its holder is killed.
        ("store.cassandra.lease", "10s"),
    ];
    settings.into_iter().for_each(|(setting, value)| world.set(setting, value));
}

/// A write of a step: its kind, and its number among the writes of this kind.
type Write = (String, usize);

/// A store that is reached directly and through a proxy.
struct Late {
    place: Place,
    proxied: World,
    proxy: Proxy,
    /// The number of writes that arrived late.
    delivered: usize,
}

impl Late {
    fn new() -> Option<Self> {
        let place = Place::new()?;
        let made = place.run(&["schema", "--apply"]);
        assert_eq!(made.code, 0, "{made:?}");
        let proxy = Proxy::default();
        let proxied = proxy.before(place.beside());
        Some(Self { place, proxied, proxy, delivered: 0 })
    }

    /// Plays the story. In each step, a process is cut off at the write in `held` and killed. Another process takes
    /// over and loads; then the held write arrives. Returns what each step wrote before that.
    fn play(&mut self, held: [Option<Write>; STEPS.len()]) -> [Vec<String>; STEPS.len()] {
        let mut held = held.into_iter();
        let sent = STEPS.map(|step| {
            self.change(&step);
            let is_held = self.cut_off(&step, held.next().flatten());
            self.take_over();
            if step.command != LOAD && is_held {
                self.run(step.command);
            }
            self.proxy.take_sent()
        });
        self.go_on();
        sent
    }

    fn change(&mut self, step: &Step) {
        configure(&mut self.place, step.longest);
        configure(&mut self.proxied, step.longest);
        (step.change)(&self.place);
    }

    /// A daemon loads all files in the inbox. Then the held write arrives.
    fn take_over(&mut self) {
        let mut daemon = self.place.daemon();
        self.until_loaded();
        if self.proxy.is_holding() {
            self.proxy.deliver();
            self.delivered += 1;
        }
        assert_eq!(daemon.stop().0, 0, "{}", daemon.log());
    }

    /// A story whose first step is done.
    fn loaded() -> Option<Self> {
        let mut late = Self::new()?;
        late.change(&STEPS[0]);
        late.run(LOAD);
        Some(late)
    }

    /// Cuts a process off at its first write of this kind.
    fn cut_off_at(&self, step: &Step, kind: &str) {
        assert!(self.cut_off(step, Some((kind.to_owned(), 1))), "no {kind}");
    }

    /// Cuts a process off at this write. Returns whether the process got that far.
    fn cut_off(&self, step: &Step, write: Option<Write>) -> bool {
        self.proxy.hold(write);
        let mut command = self.proxied.command(step.command);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let ended = until("the process ends or is cut off", || {
            let ended = process.try_wait().unwrap();
            (ended.is_some() || self.proxy.is_holding()).then_some(ended)
        });
        if ended.is_none() {
            process.kill().unwrap();
        }
        let told = process.wait_with_output().unwrap();
        let code = ended.map(|status| status.code());
        assert!(matches!(code, None | Some(Some(0 | 1))), "{told:?}");
        ended.is_none()
    }

    fn run(&self, command: &[&str]) {
        let done = self.place.run(command);
        assert!(matches!(done.code, 0 | 1), "{done:?}");
    }

    /// Checks that a daemon, and then another process, can continue after the story.
    fn go_on(&self) {
        let mut daemon = self.place.daemon();
        grow(&self.place, 9);
        self.until_loaded();
        assert_eq!(daemon.stop().0, 0, "{}", daemon.log());
        grow(&self.place, 10);
        self.run(LOAD);
    }

    /// Waits until every file is loaded up to its last byte.
    fn until_loaded(&self) {
        until("all files are loaded", || {
            let newest = self.newest();
            let mut files = std::fs::read_dir(self.place.inbox()).unwrap().map(|file| file.unwrap());
            let is_loaded = |file: std::fs::DirEntry| {
                let newest = newest.get(file.file_name().to_str().unwrap());
                newest.is_some_and(|(_, state, bytes)| {
                    let is_whole = u64::try_from(*bytes).unwrap() == file.metadata().unwrap().len();
                    is_whole && matches!(state.as_str(), "loaded" | "duplicate")
                })
            };
            files.all(is_loaded).then_some(())
        });
    }

    /// For each path, the newest generation with its state and the number of its bytes that are in the tables.
    fn newest(&self) -> BTreeMap<String, (i32, String, i64)> {
        let mut newest = BTreeMap::new();
        for row in self.place.valid_deliveries("path, generation, state, bytes") {
            let [path, generation, state, bytes] = row.try_into().unwrap();
            let generation = generation.unwrap().as_int().unwrap();
            let found = (generation, text(state), bytes.unwrap().as_bigint().unwrap());
            let newest = newest.entry(text(path)).or_insert_with(|| found.clone());
            *newest = found.max(newest.clone());
        }
        newest
    }
}

/// The writes of each step. A play holds back one write in each step.
struct Plays([Vec<Write>; STEPS.len()]);

impl Plays {
    /// Plays that hold back every write once.
    fn all(sent: &[Vec<String>; STEPS.len()]) -> Self {
        Self(sent.each_ref().map(|sent| numbered(sent)))
    }

    fn count(&self) -> usize {
        self.0.iter().map(Vec::len).max().unwrap_or_default()
    }

    fn nth(&self, n: usize) -> [Option<Write>; STEPS.len()] {
        self.0.each_ref().map(|writes| writes.get(n).cloned())
    }
}

fn numbered(sent: &[String]) -> Vec<Write> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    let number = |kind| {
        let count = counts.entry(kind).or_default();
        *count += 1;
        (kind.clone(), *count)
    };
    sent.iter().map(number).collect()
}

fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "cassandra: {text}");
}

/// This test takes minutes, so only `make every-step` runs it.
#[test]
fn a_write_that_arrives_after_a_takeover_changes_nothing() {
    if std::env::var_os("NEEDLEDROP_EVERY_STEP").is_none() {
        return tell("NOT RUN: late writes of every kind; `make every-step` runs this test");
    }
    let Some(mut late) = Late::new() else { return };
    let sent = late.play(Default::default());
    let clean = Story::of(&late.place);
    let plays = Plays::all(&sent);
    for n in 0..plays.count() {
        late.place.empty();
        let held = plays.nth(n);
        let what = format!("{held:?}");
        late.play(held);
        Story::of(&late.place).assert_is(&clean, &what);
    }
    tell(&format!("{} late writes of {} plays changed nothing", late.delivered, plays.count()));
}

/// The file grows, and is then rewritten before another process takes over.
#[test]
fn a_delivery_whose_file_was_rewritten_is_not_resumed_late() {
    let Some(mut late) = Late::loaded() else { return };
    late.change(&STEPS[1]);
    late.cut_off_at(&STEPS[1], "INSERT needledrop_deliveries trusted");
    late.place.drop_file(FIRST, format!("{HEADER}{}", events(20..23)));
    late.take_over();
    // No work is left unfinished.
    Story::of(&late.place);
    assert_eq!(late.place.generations(FIRST), 2);
}

/// The file is rewritten. Before another process takes over, the file gets its former bytes back and grows.
#[test]
fn a_generation_whose_bytes_are_gone_is_not_entered_late() {
    let Some(mut late) = Late::loaded() else { return };
    let before = std::fs::read(late.place.inbox().join(FIRST)).unwrap();
    late.place.drop_file(FIRST, format!("{HEADER}{}", events(20..23)));
    let entered =
        "INSERT needledrop_deliveries trusted + INSERT needledrop_paths id + INSERT needledrop_heads id";
    late.cut_off_at(&STEPS[0], entered);
    late.place.drop_file(FIRST, before);
    grow(&late.place, 7);
    late.take_over();
    late.go_on();
    Story::of(&late.place);
    assert_eq!(late.place.generations(FIRST), 1);
}
