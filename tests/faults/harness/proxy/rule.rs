//! Which calls a fault meets, and what it does to them.

use super::call::{Call, Operation};
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What happens to a call.
#[derive(Clone)]
pub enum Fault {
    Delay(Duration),
    /// The connection is reset before the request has any effect.
    ResetBefore,
    /// The request takes effect, and the connection is reset instead of the reply.
    AckLost,
    /// An AWS error, in the words of the service. Nothing takes effect.
    Refuse(u16, &'static str),
    /// The same with a message of its own.
    RefuseSaying(u16, &'static str, &'static str),
    /// The bucket is in this region, as S3 says of one that is asked for in another. Nothing takes effect.
    Elsewhere(&'static str),
    /// An answer of this status that never ends. Nothing takes effect.
    Endless(u16),
    /// The answer to a HEAD says that the object has so many bytes.
    Large(u64),
    /// The reply's body ends after so many bytes, though more were promised.
    Truncate(usize),
    /// One byte of the reply's body is another.
    Flip(usize),
    /// The reply's body stands still after so many bytes, for so long.
    Stall(usize, Duration),
    /// Bytes of the reply's body in a second.
    Bandwidth(usize),
    /// No effect, and no answer until the client gives up.
    BlackHole,
    /// The first message of a receive comes twice.
    FirstTwice,
    /// Entries of a batch at these positions fail with this code; the others take effect.
    FailEntries(Arc<dyn Fn(usize) -> bool + Send + Sync>, &'static str),
    /// Something is done, like killing the worker, before the call has any effect.
    Before(Callback),
    /// The same after it took effect, before the reply is sent.
    After(Callback),
    /// One of these, by chance.
    OneOf(Vec<Fault>),
}

pub type Callback = Arc<dyn Fn() + Send + Sync>;

impl Fault {
    fn one(&self) -> Self {
        match self {
            Self::OneOf(faults) => faults[fastrand::usize(..faults.len())].one(),
            other => other.clone(),
        }
    }

    pub fn name(&self) -> String {
        match self {
            Self::Delay(time) => format!("delay {} ms", time.as_millis()),
            Self::ResetBefore => "reset before".into(),
            Self::AckLost => "reply lost".into(),
            Self::Refuse(status, code) => format!("refuse {status} {code}"),
            Self::RefuseSaying(status, code, message) => format!("refuse {status} {code}: {message}"),
            Self::Elsewhere(region) => format!("elsewhere: {region}"),
            Self::Endless(status) => format!("endless {status}"),
            Self::Large(bytes) => format!("large: {bytes} bytes"),
            Self::Truncate(at) => format!("truncate at {at}"),
            Self::Flip(at) => format!("flip at {at}"),
            Self::Stall(at, time) => format!("stall at {at} for {} ms", time.as_millis()),
            Self::Bandwidth(bytes) => format!("{bytes} bytes/s"),
            Self::BlackHole => "black hole".into(),
            Self::FirstTwice => "first twice".into(),
            Self::FailEntries(_, code) => format!("fail entries {code}"),
            Self::Before(_) => "done before".into(),
            Self::After(_) => "done after".into(),
            Self::OneOf(faults) => {
                format!("one of {}", faults.iter().map(Self::name).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

type Predicate = Arc<dyn Fn(&Call) -> bool + Send + Sync>;

/// Picks calls. Starts with operations, narrowed by what follows.
#[derive(Clone)]
pub struct On {
    operations: Vec<Operation>,
    key: Option<String>,
    receipt: Option<String>,
    predicate: Option<Predicate>,
    from: u64,
    to: u64,
    chance: f64,
}

/// Calls of these operations; of all, when none is named.
pub fn on(operations: impl IntoIterator<Item = Operation>) -> On {
    let operations = operations.into_iter().collect();
    On { operations, key: None, receipt: None, predicate: None, from: 1, to: u64::MAX, chance: 1.0 }
}

pub fn on_s3() -> On {
    on([Operation::GetObject, Operation::HeadObject, Operation::PutObject])
}

impl On {
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    #[must_use]
    pub fn receipt(mut self, receipt: impl Into<String>) -> Self {
        self.receipt = Some(receipt.into());
        self
    }

    /// Only the n-th of the calls that match, counted from 1; or a range of them.
    #[must_use]
    pub fn nth(mut self, range: impl RangeBounds<u64>) -> Self {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        self.from = match range.start_bound() {
            Included(n) => *n,
            Excluded(n) => n + 1,
            Unbounded => 1,
        };
        self.to = match range.end_bound() {
            Included(n) => *n,
            Excluded(n) => n - 1,
            Unbounded => u64::MAX,
        };
        self
    }

    #[must_use]
    pub fn when(mut self, predicate: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        self.predicate = Some(Arc::new(predicate));
        self
    }

    /// By chance: 0.3 is every third call or so.
    #[must_use]
    pub fn sometimes(mut self, chance: f64) -> Self {
        self.chance = chance;
        self
    }

    fn fits(&self, call: &Call) -> bool {
        (self.operations.is_empty() || self.operations.contains(&call.operation))
            && self.key.as_ref().is_none_or(|key| *key == call.key)
            && self.receipt.as_ref().is_none_or(|r| call.entries.iter().any(|e| e.receipt == *r))
            && self.predicate.as_ref().is_none_or(|p| p(call))
    }
}

/// A fault in force. It stays when this is dropped; `end` lifts it.
#[derive(Clone)]
pub struct Rule(Arc<Inner>);

struct Inner {
    on: On,
    fault: Fault,
    active: AtomicBool,
    matched: AtomicU64,
    applied: AtomicU64,
}

impl Rule {
    pub fn end(&self) {
        self.0.active.store(false, Ordering::SeqCst);
    }

    /// How many calls met it.
    pub fn applied(&self) -> u64 {
        self.0.applied.load(Ordering::SeqCst)
    }
}

/// The rules of one proxy; the first that fits a call decides.
#[derive(Default)]
pub struct Rules(Mutex<Vec<Rule>>);

impl Rules {
    pub fn add(&self, on: On, fault: Fault) -> Rule {
        let rule = Rule(Arc::new(Inner {
            on,
            fault,
            active: AtomicBool::new(true),
            matched: AtomicU64::new(0),
            applied: AtomicU64::new(0),
        }));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(rule.clone());
        rule
    }

    pub fn end_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|rule| rule.end());
    }

    pub fn pick(&self, call: &Call) -> Option<Fault> {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rules.retain(|rule| rule.0.active.load(Ordering::SeqCst));
        rules.iter().find_map(|Rule(rule)| {
            if !rule.on.fits(call) {
                return None;
            }
            let turn = rule.matched.fetch_add(1, Ordering::SeqCst) + 1;
            let hit = (rule.on.from..=rule.on.to).contains(&turn)
                && (rule.on.chance >= 1.0 || fastrand::f64() < rule.on.chance);
            hit.then(|| {
                rule.applied.fetch_add(1, Ordering::SeqCst);
                rule.fault.one()
            })
        })
    }
}
