//! A stand-in for a service manager: a socket for the messages of a service, and the timeout of a watchdog.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::common::{Daemon, World, until};

/// Each message with the time at which it arrived.
type Told = Arc<Mutex<Vec<(Instant, String)>>>;

pub struct Manager {
    socket: PathBuf,
    watchdog: Option<Duration>,
    told: Told,
}

impl Manager {
    pub fn new(world: &World, watchdog: Option<Duration>) -> Self {
        let socket = world.path("notify");
        let heard = UnixDatagram::bind(&socket).unwrap();
        let told = Told::default();
        let tell = Arc::clone(&told);
        std::thread::Builder::new().spawn(move || listen(&heard, &tell)).unwrap();
        Self { socket, watchdog, told }
    }

    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub fn start(&self, world: &World) -> Daemon {
        self.start_with(world, Vec::new())
    }

    /// Starts the daemon with further variables.
    pub fn start_with(&self, world: &World, mut variables: Vec<(&'static str, String)>) -> Daemon {
        variables.push(("NOTIFY_SOCKET", self.socket.display().to_string()));
        if let Some(watchdog) = self.watchdog {
            variables.push(("WATCHDOG_USEC", watchdog.as_micros().to_string()));
        }
        world.daemon_with(&variables)
    }

    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().map(|(_, word)| word.clone()).collect()
    }

    /// Waits until the last message of its kind is the expected one.
    pub fn hears(&self, expected: &str) {
        let kind = expected.split('=').next().unwrap();
        until(&format!("{expected} is told: {:?}", self.told()), || {
            let last = self.told().into_iter().rfind(|word| word.split('=').next() == Some(kind))?;
            (last == expected).then_some(())
        });
    }

    pub fn last_fed(&self) -> Instant {
        let told = self.told.lock().unwrap();
        told.iter().rfind(|(_, word)| word == "WATCHDOG=1").map(|(at, _)| *at).unwrap()
    }

    /// Asserts for some time that the watchdog is fed as often as it requires.
    pub fn is_fed_for(&self, time: Duration, watchdog: Duration) {
        let began = Instant::now();
        until("the watchdog is fed", || self.told().contains(&"WATCHDOG=1".to_owned()).then_some(()));
        while began.elapsed() < time {
            assert!(self.last_fed().elapsed() < watchdog, "not fed: {:?}", self.told());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Receives messages until the socket fails, so the thread usually runs until the process of the tests ends.
fn listen(socket: &UnixDatagram, told: &Told) {
    let mut message = [0; 4096];
    while let Ok(len) = socket.recv(&mut message) {
        let text = String::from_utf8_lossy(&message[..len]).into_owned();
        let words = text.lines().map(|word| (Instant::now(), word.to_owned()));
        told.lock().unwrap().extend(words);
    }
}
