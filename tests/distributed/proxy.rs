//! A network that is not to be relied upon: between collectors and their learner.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Passes on what comes, as well or as badly as it is told to.
#[derive(Default)]
pub struct Weather {
    /// What each piece waits, in milliseconds.
    pub delay: AtomicU64,
    /// One bit of each piece that is the n-th is another one; 0 leaves all as they are.
    pub flip: AtomicU64,
    /// Nobody comes through.
    pub closed: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    pieces: AtomicU64,
}

impl Weather {
    /// Cuts all connections.
    pub fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// Passes on from a port of its own, which it returns, to another.
pub fn proxy(to: u16) -> (u16, Arc<Weather>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let weather = Arc::new(Weather::default());
    let shared = weather.clone();
    thread::spawn(move || {
        for incoming in listener.incoming() {
            let Ok(incoming) = incoming else { return };
            if shared.closed.load(Ordering::Relaxed) {
                continue;
            }
            let Ok(outgoing) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            for (mut from, mut to) in [
                (incoming.try_clone().unwrap(), outgoing.try_clone().unwrap()),
                (outgoing.try_clone().unwrap(), incoming.try_clone().unwrap()),
            ] {
                let weather = shared.clone();
                thread::spawn(move || pass_on(&mut from, &mut to, &weather));
            }
            shared.connections.lock().unwrap().extend([incoming, outgoing]);
        }
    });
    (port, weather)
}

fn pass_on(from: &mut TcpStream, to: &mut TcpStream, weather: &Weather) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        thread::sleep(Duration::from_millis(weather.delay.load(Ordering::Relaxed)));
        let number = weather.pieces.fetch_add(1, Ordering::Relaxed);
        let flip = weather.flip.load(Ordering::Relaxed);
        if flip > 0 && number % flip == flip - 1 {
            piece[(number as usize).wrapping_mul(7919) % count] ^= 1 << (number % 8);
        }
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
