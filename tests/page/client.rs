//! What talks to the admin port: requests, the stream of events, and `longshore local` to talk to.

use super::common::LIMIT;
use super::common::process::longshore;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// An answer: status, head in lower case, body.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// One request on a connection of its own, with the headers as they are given.
pub fn ask(address: &str, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut text = format!("{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "Host") {
        text.push_str(&format!("Host: {address}\r\n"));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = connect(address);
    stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    // Who refuses before the end may close early.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    // Names in lower case, values as they are.
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let head = lines.map(|(name, value)| format!("{}: {value}\n", name.to_lowercase())).collect();
    Answer { status, head, body: answer.get(end + 4..).unwrap_or_default().to_vec() }
}

pub fn get(address: &str, path: &str) -> Answer {
    ask(address, &format!("GET {path}"), &[], b"")
}

pub const MARK: (&str, &str) = ("X-Longshore", "page");

/// The stream of events, read line by line.
pub struct Events(BufReader<TcpStream>);

impl Events {
    pub fn open(address: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = connect(address);
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("GET /events HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = Self(BufReader::new(stream));
        let status = events.line().unwrap();
        assert!(status.contains("200"), "{status}");
        events
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.0.read_line(&mut line).unwrap_or(0) > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event of this name that is as wanted; None when the stream ends.
    pub fn next(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let mut current = String::new();
        loop {
            let line = self.line()?;
            if let Some(event) = line.strip_prefix("event: ") {
                current = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ")
                && current == name
            {
                let data = serde_json::from_str(data).unwrap();
                if wanted(&data) {
                    return Some(data);
                }
            }
        }
    }

    /// The next state of a picture that is like this.
    pub fn picture(&mut self, key: &str, state: &str) -> Value {
        let like = |p: &&Value| p["key"] == key && p["state"] == state;
        let event = self.next("pictures", |list| list.as_array().unwrap().iter().any(|p| like(&p)));
        event.expect("the stream goes on").as_array().unwrap().iter().find(like).unwrap().clone()
    }
}

/// `longshore local --serve`, ended when dropped.
pub struct Local {
    child: Child,
    pub address: String,
    folder: tempfile::TempDir,
}

impl Local {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    pub fn start_in(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        let mut command = longshore();
        command.args(["local", "--serve", "--admin-addr", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let page = lines.find_map(|line| line.strip_prefix("The page is http://").map(str::to_owned));
        // It has more to say, and somebody must take it.
        std::thread::spawn(move || lines.for_each(drop));
        let address = page.expect("it says where the page is").trim_end_matches('/').to_owned();
        Self { child, address, folder }
    }

    pub fn upload(&self, name: &str, body: &[u8]) -> Answer {
        ask(&self.address, "POST /pictures", &[MARK, ("X-Longshore-Name", name)], body)
    }

    pub fn stop(mut self) -> tempfile::TempDir {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
