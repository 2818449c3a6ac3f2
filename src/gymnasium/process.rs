//! The Python process: started, asked, watched and ended.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::protocol::{Ask, Description, Silence, answer, description, readable};
use super::{GymnasiumError, GymnasiumOptions};

/// Where answers are read from.
pub(super) type Answers = BufReader<ChildStdout>;

/// A running child.
#[derive(Debug)]
pub(super) struct Process {
    watched: Arc<Watched>,
    answers: Answers,
    errors: Errors,
    watchdog: Option<JoinHandle<()>>,
    /// The answer's limit.
    limit: Duration,
    /// The number of requests: an answer repeats it, so that nothing else is taken for one.
    asked: u32,
    request: Vec<u8>,
}

/// What the process's user and its watchdog share.
#[derive(Debug)]
struct Watched {
    child: Mutex<Child>,
    requests: Mutex<Option<ChildStdin>>,
    due: Mutex<Due>,
    changed: Condvar,
    late: AtomicBool,
    /// Together with all that it started.
    killed: AtomicBool,
}

#[derive(Debug, Default)]
struct Due {
    /// When the answer under way has to be there.
    at: Option<Instant>,
    /// The watchdog may go.
    over: bool,
}

/// The last that the child wrote to standard error.
#[derive(Debug)]
struct Errors {
    last: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

/// A lock whose holder cannot have left anything half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    const SCRIPT: &'static str = include_str!("serve.py");
    /// The time for a child to close its environment and end by itself.
    const CLOSING: Duration = Duration::from_secs(5);
    /// The time for a child that hangs to say where.
    const CONFESSING: Duration = Duration::from_secs(2);

    /// Starts the interpreter, and waits until it has made the environment.
    pub(super) fn start(options: &GymnasiumOptions) -> Result<(Self, Description), GymnasiumError> {
        let interpreter = options.python();
        let mut command = Command::new(&interpreter);
        command.arg("-c").arg(Self::SCRIPT).envs(options.variables());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Killed with all that it starts, be it simulators or, where a script stands in for the interpreter,
        // Python itself. Ctrl-C in a terminal does not reach it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|source| GymnasiumError::NoPython { interpreter, source })?;
        let (Some(requests), Some(answers), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            unreachable!("all three are pipes");
        };
        let watched = Arc::new(Watched {
            child: Mutex::new(child),
            requests: Mutex::new(Some(requests)),
            due: Mutex::default(),
            changed: Condvar::new(),
            late: AtomicBool::new(false),
            killed: AtomicBool::new(false),
        });
        let mut process = Self {
            answers: BufReader::new(answers),
            errors: Errors::of(errors),
            watchdog: Some(Watched::watch(watched.clone(), options.limit())),
            limit: options.start_limit(),
            watched,
            asked: 0,
            request: Vec::new(),
        };
        let request = options.request();
        process.request.extend((request.len() as u32).to_le_bytes());
        process.request.extend(request.into_bytes());
        let description = process.exchange(description)?;
        process.limit = options.limit();
        Ok((process, description))
    }

    /// The system's number of the process.
    pub(super) fn id(&self) -> u32 {
        lock(&self.watched.child).id()
    }

    /// Asks for something and reads the answer.
    pub(super) fn ask<T>(
        &mut self,
        ask: Ask<'_>,
        read: impl FnOnce(&mut Answers) -> std::io::Result<T>,
    ) -> Result<T, GymnasiumError> {
        self.asked = self.asked.wrapping_add(1);
        let number = self.asked;
        self.request.clear();
        ask.write(number, &mut self.request);
        self.exchange(|answers| answer(answers, number, read))
    }

    /// Sends the request and reads what comes back, within the limit.
    fn exchange<T>(
        &mut self,
        read: impl FnOnce(&mut Answers) -> Result<T, Silence>,
    ) -> Result<T, GymnasiumError> {
        lock(&self.watched.due).at = Some(Instant::now() + self.limit);
        if let Some(requests) = &mut *lock(&self.watched.requests) {
            // Where nobody reads any more there is no answer either, or one that says why.
            let _ = requests.write_all(&self.request);
        }
        let answer = read(&mut self.answers);
        lock(&self.watched.due).at = None;
        answer.map_err(|silence| self.cause(silence))
    }

    /// The error of an answer that did not come, for which the process is ended.
    fn cause(&mut self, silence: Silence) -> GymnasiumError {
        if let Silence::Told(error) = silence {
            return error;
        }
        // One that hangs has the watchdog after it.
        let late = self.watched.late.load(Ordering::Acquire);
        let status = match self.end(if late { Self::CONFESSING } else { Duration::from_secs(1) }) {
            Ok(status) => status,
            Err(error) => return error.into(),
        };
        let stderr = self.errors.last();
        match silence {
            _ if late => GymnasiumError::Late { limit: self.limit, stderr },
            Silence::Other(found) => GymnasiumError::Stream { found, stderr },
            _ => GymnasiumError::Ended { status, stderr },
        }
    }

    /// Closes the child's pipe, which asks it to end, and kills it if it has not after a while.
    fn end(&mut self, patience: Duration) -> std::io::Result<ExitStatus> {
        *lock(&self.watched.requests) = None;
        let status = self.watched.end(patience);
        lock(&self.watched.due).over = true;
        self.watched.changed.notify_all();
        if let Some(watchdog) = self.watchdog.take() {
            // It was killed already, whatever went wrong there.
            let _ = watchdog.join();
        }
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to be told of an error.
        let _ = self.end(Self::CLOSING);
    }
}

impl Watched {
    /// A thread that ends the child once an answer is late.
    fn watch(self: Arc<Self>, limit: Duration) -> JoinHandle<()> {
        thread::spawn(move || {
            let mut due = lock(&self.due);
            while !due.over {
                let now = Instant::now();
                let left = due.at.map_or(limit, |at| at.saturating_duration_since(now));
                if left.is_zero() {
                    drop(due);
                    self.give_up();
                    return;
                }
                // What is asked for meanwhile cannot be late before the limit has passed.
                let wait = left.min(limit);
                let waited = self.changed.wait_timeout(due, wait);
                due = waited.unwrap_or_else(PoisonError::into_inner).0;
                // While this process itself was stopped, as by Ctrl-Z, nothing could be answered.
                let stopped = now.elapsed().saturating_sub(wait);
                due.at = due.at.map(|at| at + stopped);
            }
        })
    }

    /// Ends a child that hangs, which makes whoever reads from it go on.
    fn give_up(&self) {
        self.late.store(true, Ordering::Release);
        match self.requests.try_lock() {
            Ok(mut requests) => *requests = None,
            Err(TryLockError::Poisoned(requests)) => *requests.into_inner() = None,
            // It does not even read.
            Err(TryLockError::WouldBlock) => {}
        }
        // Should it not even be possible to kill it, there is nothing left to do.
        let _ = self.end(Process::CONFESSING);
    }

    /// Waits for the child to end, or kills it; what it has started and left is killed.
    fn end(&self, patience: Duration) -> std::io::Result<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            let mut child = lock(&self.child);
            let ended = child.try_wait()?;
            if let Some(status) = ended
                && self.killed.load(Ordering::Acquire)
            {
                return Ok(status);
            }
            if ended.is_some() || Instant::now() >= until {
                self.killed.store(true, Ordering::Release);
                kill_group(child.id());
                child.kill()?;
                return child.wait();
            }
            drop(child);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Kills a group of processes, if any of it is left.
fn kill_group(group: u32) {
    if cfg!(unix) {
        let mut kill = Command::new("kill");
        kill.args(["-s", "KILL", "--", &format!("-{group}")]);
        // The child itself is killed in any case.
        let _ = kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

impl Errors {
    /// In bytes.
    const KEPT: usize = 8192;

    fn of(mut errors: ChildStderr) -> Self {
        let last = Arc::new(Mutex::new(Vec::new()));
        let kept = last.clone();
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            loop {
                let size = match errors.read(&mut piece) {
                    Ok(0) => return,
                    Ok(size) => size,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => return,
                };
                tracing::debug!(target: "mpo::gymnasium", "{}", readable(piece[..size].trim_ascii_end()));
                let mut kept = lock(&kept);
                kept.extend_from_slice(&piece[..size]);
                let surplus = kept.len().saturating_sub(Self::KEPT);
                kept.drain(..surplus);
            }
        });
        Self { last, reader }
    }

    /// What there is to read; a child of the child may keep its end open, and is not waited for.
    fn last(&self) -> String {
        let until = Instant::now() + Duration::from_millis(500);
        while !self.reader.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        readable(&lock(&self.last))
    }
}
