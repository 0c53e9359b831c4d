//! A wire: a proxy between a process and the node, which can drop frames of the connection.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::place::Place;

/// Decides whether a frame arrives.
pub type Arrives = Arc<dyn Fn(Way, &[u8]) -> bool + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToNode,
    FromNode,
}

/// Connects the place to its node through a wire.
pub fn through(place: Place, arrives: impl Fn(Way, &[u8]) -> bool + Send + Sync + 'static) -> Place {
    let arrives: Arrives = Arc::new(arrives);
    let port = wire(move || Arc::clone(&arrives));
    place.with("store.cassandra.hosts", "[\"127.0.0.1\"]").with("store.cassandra.port", &port)
}

/// Starts a wire to the node and returns its port. `begin` makes the decision function of each connection.
pub fn wire(begin: impl Fn() -> Arrives + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    start(move || listener.incoming().for_each(|one| connect(one.unwrap(), &begin())));
    port
}

/// A switch that a test shares with its wire.
#[derive(Clone, Default)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    pub fn turn_on(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Turns the switch off. Returns whether it was on.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

pub fn holds(frame: &[u8], words: &str) -> bool {
    frame.windows(words.len()).any(|part| part == words.as_bytes())
}

/// Starts a thread that ends with the test, or with its connection.
fn start(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().spawn(work).unwrap();
}

fn connect(process: TcpStream, arrives: &Arrives) {
    let node = TcpStream::connect(std::env::var("NEEDLEDROP_TEST_CASSANDRA").unwrap()).unwrap();
    for stream in [&process, &node] {
        stream.set_nodelay(true).unwrap();
    }
    let (back, forth) = (node.try_clone().unwrap(), process.try_clone().unwrap());
    for (from, to, way) in [(process, node, Way::ToNode), (back, forth, Way::FromNode)] {
        let arrives = Arc::clone(arrives);
        // Either end may close the connection.
        start(move || carry(from, to, way, &arrives).unwrap_or_default());
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, way: Way, arrives: &Arrives) -> std::io::Result<()> {
    loop {
        let mut frame = vec![0; 9];
        from.read_exact(&mut frame)?;
        let length = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]);
        frame.resize(9 + length as usize, 0);
        from.read_exact(&mut frame[9..])?;
        if arrives(way, &frame) {
            to.write_all(&frame)?;
        }
    }
}
