//! The worker's own counters, asked for all the time: their identity must hold at every moment.

use super::process::listening_port;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const ENDS: [&str; 5] = ["deleted", "released", "retried", "dead_lettered", "ownership_lost"];
const PERIOD: Duration = Duration::from_millis(100);

/// Ends when dropped.
pub struct Watch {
    asking: JoinHandle<()>,
    last: Arc<Mutex<Option<Sums>>>,
}

/// Each name's value, summed over its labels.
pub type Sums = BTreeMap<String, f64>;

impl Watch {
    /// What was told last. None: nothing was ever told.
    pub fn last(&self) -> Option<Sums> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

/// Asks for `/metrics` until the process ends.
pub fn watch(pid: u32, name: &str, violations: Arc<Mutex<Vec<String>>>) -> Watch {
    let name = name.to_owned();
    let last: Arc<Mutex<Option<Sums>>> = Arc::default();
    let told_last = Arc::clone(&last);
    let asking = tokio::spawn(async move {
        loop {
            tokio::time::sleep(PERIOD).await;
            let Some(port) = listening_port(pid) else { continue };
            let Some((status, text)) = get(port, "/metrics").await else { continue };
            let told = if status == 200 { check(&text) } else { Err(format!("/metrics answers {status}")) };
            if let Err(why) = told {
                violations.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{name}: {why}"));
            }
            *told_last.lock().unwrap_or_else(PoisonError::into_inner) = Some(sums(&text));
        }
    });
    Watch { asking, last }
}

/// What was told before its end against what a worker says of itself at its end: nothing is taken back, and of
/// what it held nothing is forgotten.
pub fn check_end(last: &Sums, farewell: &Value) -> Result<(), String> {
    at_the_end(last, farewell, |before, at_last| before <= at_last)
}

/// The same of a worker that had nothing more to do.
pub fn check_idle_end(last: &Sums, farewell: &Value) -> Result<(), String> {
    at_the_end(last, farewell, |before, at_last| before == at_last)
}

fn at_the_end(last: &Sums, farewell: &Value, fits: impl Fn(f64, f64) -> bool) -> Result<(), String> {
    for name in ENDS.into_iter().chain(["received"]) {
        let before = last.get(&counter(name)).copied();
        let at_last = farewell[name].as_f64();
        if !before.zip(at_last).is_some_and(|(before, at_last)| fits(before, at_last)) {
            return Err(format!("/metrics told {name} {before:?} last, and it ended with {at_last:?}"));
        }
    }
    Ok(())
}

/// `received = deleted + released + retried + dead_lettered + ownership_lost + in_flight`
pub fn check(text: &str) -> Result<(), String> {
    let sums = sums(text);
    let get = |name: &str| {
        let value = sums.get(name).copied();
        value.ok_or_else(|| format!("/metrics does not tell {name}"))
    };
    let received = get(&counter("received"))?;
    let mut told = vec![("in_flight", get("longshore_messages_in_flight")?)];
    for end in ENDS {
        told.push((end, get(&counter(end))?));
    }
    let sum: f64 = told.iter().map(|(_, n)| n).sum();
    if (sum - received).abs() < 0.5 {
        return Ok(());
    }
    Err(format!("received {received} is not the sum of {told:?}"))
}

/// What the counter is called of the messages that came to this end, or were received.
pub fn counter(what: &str) -> String {
    match what {
        "received" => "messaging_client_consumed_messages_total".to_owned(),
        end => format!("longshore_messages_{end}_total"),
    }
}

pub fn sums(text: &str) -> Sums {
    let mut sums = Sums::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or_default();
        *sums.entry(name.to_owned()).or_insert(0.0) += value.parse().unwrap_or(0.0);
    }
    sums
}

/// A plain HTTP GET. None: nobody answers.
pub async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    };
    tokio::time::timeout(Duration::from_secs(5), ask).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::{check, check_end, check_idle_end, sums};
    use serde_json::json;

    fn told(received: u32, deleted: u32) -> String {
        format!(
            "# TYPE messaging_client_consumed_messages_total counter\nmessaging_client_consumed_messages_total {received}\n\
             longshore_messages_deleted_total {deleted}\nlongshore_messages_released_total{{reason=\"a\"}} 1\n\
             longshore_messages_released_total{{reason=\"b\"}} 2\nlongshore_messages_retried_total 1\n\
             longshore_messages_dead_lettered_total 0\nlongshore_messages_ownership_lost_total 0\n\
             longshore_messages_in_flight 2\n"
        )
    }

    #[test]
    fn the_identity_is_summed_over_labels() {
        assert_eq!(check(&told(10, 4)), Ok(()));
        assert!(check(&told(10, 5)).is_err());
        assert!(check("messaging_client_consumed_messages_total 1\n").is_err());
    }

    #[test]
    fn nothing_is_taken_back_at_the_end() {
        let said = |received: u32, retried: u32| {
            json!({"received": received, "deleted": 4, "released": 3, "retried": retried, "dead_lettered": 0,
                "ownership_lost": 0})
        };
        let last = sums(&told(10, 4));
        assert!(check_end(&last, &said(10, 3)).is_ok() && check_idle_end(&last, &said(10, 1)).is_ok());
        assert!(check_end(&last, &said(9, 1)).is_err() && check_end(&last, &said(10, 0)).is_err());
        assert!(check_end(&last, &json!({})).is_err(), "silence is no answer");
        assert!(check_end(&sums(""), &said(10, 1)).is_err(), "nor is this");
        assert!(check_idle_end(&last, &said(10, 2)).is_err() && check_idle_end(&last, &said(11, 1)).is_err());
    }
}
