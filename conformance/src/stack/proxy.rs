//! A loopback HTTP proxy that does to requests what networks and busy servers do, by a seed.
//!
//! One connection carries one request: the proxy reads it whole, rolls the dice, and (unless the request is to be
//! refused) sends it on and brings the answer back, or not. Signatures cover the host that the client named, and
//! that passes unchanged.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::Result;

/// Longest wait for the server, or for the rest of a request.
const WITHIN: Duration = Duration::from_secs(30);

/// How likely each fault is, of 1; together at most 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// A storm begins: this request and the next [`storm_requests`](Self::storm_requests) get 503 SlowDown, and
    /// do not reach the server.
    pub storm: f64,
    /// How long storms are.
    pub storm_requests: u32,
    /// The request takes effect, and its answer is lost.
    pub lost_reply: f64,
    /// The connection is reset before the request reaches the server.
    pub reset: f64,
    /// The answer breaks off in the middle.
    pub cut: f64,
}

/// What was done to requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Requests in all.
    pub requests: u64,
    /// Answered with 503.
    pub slowed: u64,
    /// Carried out, their answers lost.
    pub lost_replies: u64,
    /// Never carried out.
    pub resets: u64,
    /// Answers that broke off.
    pub cut: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    SlowDown,
    LostReply,
    Reset,
    Cut,
}

struct Dice {
    random: StdRng,
    storm_left: u32,
}

struct Shared {
    faults: Faults,
    dice: Mutex<Dice>,
    upstream: u16,
    stopped: AtomicBool,
    counts: [AtomicU64; 5],
}

/// A running proxy; it ends when dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy before the server on `upstream`.
    ///
    /// # Errors
    /// When there is no port for it.
    pub fn start(upstream: u16, faults: Faults, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            faults,
            dice: Mutex::new(Dice { random: StdRng::seed_from_u64(seed), storm_left: 0 }),
            upstream,
            stopped: AtomicBool::new(false),
            counts: Default::default(),
        });
        let serving = Arc::clone(&shared);
        let listener = std::thread::spawn(move || {
            for client in listener.incoming().map_while(io::Result::ok) {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                // What fails between the two ends is what they are to cope with.
                std::thread::spawn(move || drop(serving.serve(&client)));
            }
        });
        Ok(Self { port, shared, listener: Some(listener) })
    }

    /// The address, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What was done so far.
    pub fn done(&self) -> Done {
        let count = |fault: Fault| self.shared.counts[fault as usize].load(Ordering::SeqCst);
        let (slowed, lost_replies, resets, cut) =
            (count(Fault::SlowDown), count(Fault::LostReply), count(Fault::Reset), count(Fault::Cut));
        Done {
            requests: count(Fault::None) + slowed + lost_replies + resets + cut,
            slowed,
            lost_replies,
            resets,
            cut,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, which then sees that it is to stop.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Shared {
    fn roll(&self) -> Fault {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        if dice.storm_left > 0 {
            dice.storm_left -= 1;
            return Fault::SlowDown;
        }
        let Faults { storm, storm_requests, lost_reply, reset, cut } = self.faults;
        let mut rolled = dice.random.random_range(0.0..1.0);
        for (likely, fault) in [
            (storm, Fault::SlowDown),
            (lost_reply, Fault::LostReply),
            (reset, Fault::Reset),
            (cut, Fault::Cut),
        ] {
            if rolled < likely {
                if fault == Fault::SlowDown {
                    dice.storm_left = storm_requests;
                }
                return fault;
            }
            rolled -= likely;
        }
        Fault::None
    }

    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        client.set_read_timeout(Some(WITHIN))?;
        let Some(request) = read_request(client)? else { return Ok(()) };
        let fault = self.roll();
        self.counts[fault as usize].fetch_add(1, Ordering::SeqCst);
        match fault {
            Fault::SlowDown => {
                let body =
                    "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
                let answer = format!(
                    "HTTP/1.1 503 Slow Down\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                return (&*client).write_all(answer.as_bytes());
            }
            Fault::Reset => return client.shutdown(Shutdown::Both),
            Fault::None | Fault::LostReply | Fault::Cut => {}
        }
        let mut server = TcpStream::connect(("127.0.0.1", self.upstream))?;
        server.set_read_timeout(Some(WITHIN))?;
        server.write_all(&request)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        match fault {
            Fault::LostReply => client.shutdown(Shutdown::Both),
            Fault::Cut => {
                (&*client).write_all(&answer[..answer.len() * 2 / 3])?;
                client.shutdown(Shutdown::Both)
            }
            _ => (&*client).write_all(&answer),
        }
    }
}

/// A whole request, told to be the only one of its connection; `None` when there is none.
fn read_request(client: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if !lower.starts_with("connection:") {
            head.extend_from_slice(line.as_bytes());
        }
    }
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    let start = head.len();
    head.resize(start + length, 0);
    reader.read_exact(&mut head[start..])?;
    Ok(Some(head))
}
