//! Load on a server over keep-alive connections: as fast as it answers, or at a fixed rate.
//!
//! One thread and one epoll instance, so that the load itself takes little of a small machine. At a fixed
//! rate requests have times that do not depend on answers, and latency counts from that time: a request that
//! waits for a free connection is slow, not missing.

mod connection;

use anyhow::{Result, ensure};
use clap::Args;
use connection::Connection;
use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the last answers may take after the last request.
const LINGER: Duration = Duration::from_secs(10);
/// The part of the time, at the start, whose latencies are not counted.
const WARM_UP: u32 = 10;
const TIMER: u64 = u64::MAX;

/// What to ask for, and how fast.
#[derive(Args, Clone, Copy, Debug)]
pub struct Options {
    /// Port of the server on 127.0.0.1
    #[arg(long)]
    pub port: u16,
    /// Connections that stay open
    #[arg(long, default_value_t = 8)]
    pub connections: usize,
    /// Requests a second; as fast as the answers come when absent
    #[arg(long)]
    pub rate: Option<u32>,
    /// Ask for streamed answers
    #[arg(long)]
    pub stream: bool,
    /// Bytes of a request's body
    #[arg(long, default_value_t = 1024)]
    pub request_bytes: usize,
    /// Seconds
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
}

/// What came of it. Latencies in nanoseconds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Outcome {
    pub answered: u64,
    pub per_second: f64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

struct Load {
    options: Options,
    epoll: Epoll,
    timer: TimerFd,
    connections: Vec<Connection>,
    free: VecDeque<usize>,
    start: Instant,
    /// Requests that were due so far, and those that were sent.
    due: u64,
    sent: u64,
    answered: u64,
    latencies: Histogram<u64>,
}

/// Loads the server and measures.
pub fn run(options: Options) -> Result<Outcome> {
    let mut load = Load::connect(options)?;
    load.start = Instant::now();
    load.drive()?;
    let seconds = load.start.elapsed().as_secs_f64();
    Ok(Outcome {
        answered: load.answered,
        per_second: load.answered as f64 / seconds,
        p50: load.latencies.value_at_quantile(0.5),
        p99: load.latencies.value_at_quantile(0.99),
        max: load.latencies.max(),
    })
}

impl Load {
    fn connect(options: Options) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let request = connection::request(options.stream, options.request_bytes);
        let mut connections = Vec::new();
        for number in 0..options.connections {
            let connection = Connection::open(options.port, request.clone())?;
            epoll.add(
                &connection.stream,
                EpollEvent::new(EpollFlags::EPOLLIN, number as u64),
            )?;
            connections.push(connection);
        }
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        Ok(Self {
            options,
            epoll,
            timer,
            free: (0..connections.len()).collect(),
            connections,
            start: Instant::now(),
            due: 0,
            sent: 0,
            answered: 0,
            latencies: Histogram::new(3)?,
        })
    }

    fn drive(&mut self) -> Result<()> {
        let end = self.start + Duration::from_secs_f64(self.options.seconds);
        if let Some(interval) = self.interval() {
            let interval = TimeSpec::from_duration(interval);
            self.timer
                .set(Expiration::Interval(interval), TimerSetTimeFlags::empty())?;
        }
        let mut events = [EpollEvent::empty(); 64];
        while Instant::now() < end {
            self.send_due()?;
            let ready = self.epoll.wait(&mut events, EpollTimeout::from(100_u8))?;
            self.handle(&events[..ready])?;
        }
        self.timer.unset()?;
        while self.answered < self.sent {
            ensure!(
                end.elapsed() < LINGER,
                "{} requests got no answer",
                self.sent - self.answered
            );
            let ready = self.epoll.wait(&mut events, EpollTimeout::from(100_u8))?;
            self.handle(&events[..ready])?;
        }
        Ok(())
    }

    fn interval(&self) -> Option<Duration> {
        self.options.rate.map(|rate| Duration::from_secs(1) / rate)
    }

    /// Sends on free connections what is due: at a rate what its times say, otherwise anything.
    fn send_due(&mut self) -> Result<()> {
        while self.interval().is_none() || self.sent < self.due {
            let Some(number) = self.free.pop_front() else {
                break;
            };
            let scheduled = match self.interval() {
                Some(interval) => self.start + interval.mul_f64((self.sent + 1) as f64),
                None => Instant::now(),
            };
            self.connections[number].send(scheduled)?;
            self.sent += 1;
        }
        Ok(())
    }

    fn handle(&mut self, events: &[EpollEvent]) -> Result<()> {
        for event in events {
            if event.data() == TIMER {
                self.tick()?;
                continue;
            }
            let number = event.data() as usize;
            if let Some(scheduled) = self.connections[number].receive()? {
                self.count(scheduled)?;
                self.free.push_back(number);
            }
        }
        Ok(())
    }

    /// The requests that became due come from the clock, not from the timer's count: a late wake-up must
    /// not move the times.
    fn tick(&mut self) -> Result<()> {
        self.timer.wait().or_else(|error| {
            if error == nix::errno::Errno::EAGAIN {
                Ok(())
            } else {
                Err(error)
            }
        })?;
        if let Some(interval) = self.interval() {
            self.due = (self.start.elapsed().as_nanos() / interval.as_nanos()) as u64;
        }
        Ok(())
    }

    fn count(&mut self, scheduled: Instant) -> Result<()> {
        self.answered += 1;
        if scheduled - self.start > Duration::from_secs_f64(self.options.seconds) / WARM_UP {
            self.latencies.record(scheduled.elapsed().as_nanos() as u64)?;
        }
        Ok(())
    }
}
