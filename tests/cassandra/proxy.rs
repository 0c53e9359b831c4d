//! A proxy that recognizes the writes of a process on their way to the node. It can hold one write and deliver it
//! later.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::common::World;
use crate::wire::{Arrives, Way, wire};

/// Opcodes of the protocol, version 4.
const ERROR: u8 = 0x00;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
const PREPARE: u8 = 0x09;
const EXECUTE: u8 = 0x0A;
const BATCH: u8 = 0x0D;

/// The result kind that answers PREPARE.
const PREPARED: u32 = 4;

const HEADER: usize = 9;

/// Watches the writes of every process that connects to the node through this proxy.
#[derive(Clone, Default)]
pub struct Proxy {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    /// Statements by the ids that the node gave them.
    statements: HashMap<Vec<u8>, String>,
    sent: Vec<String>,
    wanted: Option<(String, usize)>,
    hold: Hold,
}

/// The state of the write that the test wants to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    NotSent,
    /// From now on the process is cut off: nothing that it sends arrives, and nothing reaches it.
    Held,
    Released,
    Answered,
}

/// The requests on one connection, by stream.
#[derive(Default)]
struct Connection {
    prepares: HashMap<[u8; 2], String>,
    held: Option<[u8; 2]>,
}

impl Proxy {
    /// Makes a world connect to its node through this proxy.
    pub fn before(&self, world: World) -> World {
        let proxy = self.clone();
        let port = wire(move || proxy.connection());
        world.with("store.cassandra.hosts", "[\"127.0.0.1\"]").with("store.cassandra.port", &port)
    }

    /// Holds the n-th write of this kind, counted from 1, if one is named.
    pub fn hold(&self, write: Option<(String, usize)>) {
        let mut state = self.state();
        (state.wanted, state.hold) = (write, Hold::NotSent);
        state.sent.clear();
    }

    /// The kinds of all writes, in order.
    pub fn take_sent(&self) -> Vec<String> {
        std::mem::take(&mut self.state().sent)
    }

    pub fn is_holding(&self) -> bool {
        self.state().hold == Hold::Held
    }

    /// Delivers the held write and waits until the node has answered.
    pub fn deliver(&self) {
        let mut state = self.state();
        assert_eq!(state.hold, Hold::Held);
        state.hold = Hold::Released;
        self.shared.1.notify_all();
        let is_open = |state: &mut State| state.hold != Hold::Answered;
        let (state, waited) =
            self.shared.1.wait_timeout_while(state, Duration::from_secs(10), is_open).unwrap();
        assert!(!waited.timed_out(), "the node does not answer {:?}", state.wanted);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    fn connection(&self) -> Arrives {
        let (proxy, connection) = (self.clone(), Mutex::new(Connection::default()));
        Arc::new(move |way, frame: &[u8]| match way {
            Way::ToNode => proxy.asks(&connection, frame),
            Way::FromNode => proxy.answers(&connection, frame),
        })
    }

    /// Blocks until the request may be forwarded.
    fn asks(&self, connection: &Mutex<Connection>, frame: &[u8]) -> bool {
        let mut state = self.state();
        if state.hold != Hold::NotSent {
            return false;
        }
        if opcode(frame) == PREPARE {
            connection.lock().unwrap().prepares.insert(stream(frame), Body::of(frame).long_string());
        }
        let Some(kind) = state.kind(frame) else { return true };
        state.sent.push(kind.clone());
        let nth = state.sent.iter().filter(|sent| **sent == kind).count();
        if state.wanted.as_ref() == Some(&(kind, nth)) {
            state.hold = Hold::Held;
            connection.lock().unwrap().held = Some(stream(frame));
            drop(self.shared.1.wait_while(state, |state| state.hold == Hold::Held).unwrap());
        }
        true
    }

    fn answers(&self, connection: &Mutex<Connection>, frame: &[u8]) -> bool {
        // Lock in the same order as `asks`.
        let mut state = self.state();
        let mut connection = connection.lock().unwrap();
        let mut body = Body::of(frame);
        if opcode(frame) == RESULT && body.int() == PREPARED {
            let cql = connection.prepares.remove(&stream(frame)).unwrap_or_default();
            state.statements.insert(body.short_bytes().to_vec(), cql);
        }
        if connection.held == Some(stream(frame)) && matches!(opcode(frame), RESULT | ERROR) {
            assert_eq!(opcode(frame), RESULT, "{}", String::from_utf8_lossy(frame));
            state.hold = Hold::Answered;
            self.shared.1.notify_all();
        }
        state.hold == Hold::NotSent
    }
}

impl State {
    /// The kinds of the statements that a request writes. `None` for a request that only reads.
    fn kind(&self, frame: &[u8]) -> Option<String> {
        let mut body = Body::of(frame);
        match opcode(frame) {
            QUERY => kind(&body.long_string()),
            EXECUTE => kind(self.statements.get(body.short_bytes())?),
            BATCH => {
                body.take(1);
                let mut kinds: Vec<_> =
                    (0..body.short()).filter_map(|_| self.kind_in_batch(&mut body)).collect();
                kinds.dedup();
                Some(kinds.join(" + "))
            }
            _ => None,
        }
    }

    fn kind_in_batch(&self, body: &mut Body<'_>) -> Option<String> {
        let cql = match body.take(1) {
            [0] => body.long_string(),
            _ => self.statements.get(body.short_bytes())?.clone(),
        };
        for _ in 0..body.short() {
            // A negative length stands for a value that is null or not set.
            if let Ok(length) = i32::from_be_bytes(body.int().to_be_bytes()).try_into() {
                body.take(length);
            }
        }
        kind(&cql)
    }
}

/// The kind of a statement: its verb, its table, and the last column of an insert or the first column of an update.
fn kind(cql: &str) -> Option<String> {
    let words: Vec<&str> = cql.split([' ', '(', ')', ',', '\n']).filter(|word| !word.is_empty()).collect();
    let at = |word: &str| words.iter().position(|one| *one == word);
    let table = |place: &str| place.rsplit('.').next().unwrap_or_default().replace('"', "");
    match *words.first()? {
        "INSERT" => Some(format!("INSERT {} {}", table(words[2]), words[at("VALUES")? - 1])),
        "UPDATE" => Some(format!("UPDATE {} {}", table(words[1]), words[at("SET")? + 1])),
        "DELETE" => Some(format!("DELETE {}", table(words[at("FROM")? + 1]))),
        _ => None,
    }
}

fn opcode(frame: &[u8]) -> u8 {
    frame[4]
}

fn stream(frame: &[u8]) -> [u8; 2] {
    [frame[2], frame[3]]
}

/// The body of a frame, which is read from its beginning.
struct Body<'f>(&'f [u8]);

impl<'f> Body<'f> {
    fn of(frame: &'f [u8]) -> Self {
        Self(&frame[HEADER..])
    }

    fn take(&mut self, length: usize) -> &'f [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn number(&mut self, length: usize) -> u32 {
        self.take(length).iter().fold(0, |number, byte| (number << 8) + u32::from(*byte))
    }

    fn short(&mut self) -> u32 {
        self.number(2)
    }

    fn int(&mut self) -> u32 {
        self.number(4)
    }

    fn short_bytes(&mut self) -> &'f [u8] {
        let length = self.short();
        self.take(length as usize)
    }

    fn long_string(&mut self) -> String {
        let length = self.int();
        String::from_utf8_lossy(self.take(length as usize)).into_owned()
    }
}
