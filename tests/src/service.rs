//! A running `gristmill serve`, and its clients over a real socket.

use crate::data_dir::DataDir;
use crate::limits::{ANSWER_BYTES_MAX, ANSWER_DEADLINE, SERVICE_DEADLINE};
use crate::poll::poll_until;
use crate::process::{Gristmill, Output, Process};
use serde_json::Value;
use std::net::TcpStream;
use ureq::Agent;
use ureq::http::Request;

/// A service that was ready; killed when dropped.
#[derive(Debug)]
pub struct Service {
    process: Process,
    url: String,
    agent: Agent,
    key: Option<String>,
}

/// What a service answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Service {
    /// Starts one on a free port over a data directory, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start(dir: &DataDir) -> Self {
        Self::start_with(&Gristmill::command(), dir, &[])
    }

    /// The same with further arguments and another command.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_with(gristmill: &Gristmill, dir: &DataDir, arguments: &[&str]) -> Self {
        let flag = dir.flag();
        let mut all = vec!["serve", flag.as_str(), "--listen=127.0.0.1:0"];
        all.extend_from_slice(arguments);
        let mut process = gristmill.spawn(all);
        let line = process.first_line(SERVICE_DEADLINE);
        let line: Value = serde_json::from_str(&line).expect("the first line is JSON");
        let url = line["listening"].as_str().expect("the first line says where").to_owned();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_DEADLINE))
            .build()
            .new_agent();
        Self { process, url, agent, key: None }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// A bare connection, for what no decent client sends.
    ///
    /// # Panics
    /// When there is none.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("the service listens");
        stream.set_read_timeout(Some(ANSWER_DEADLINE)).expect("a timeout can be set");
        stream
    }

    /// From now on every request carries this key.
    pub fn use_key(&mut self, key: Option<&str>) {
        self.key = key.map(str::to_owned);
    }

    /// Sends a request with the key in use.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        self.send_with(method, path, &[("content-type", kind)], body)
    }

    /// Sends a request with these header fields, and the key in use.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let answer = self.try_send(method, path, headers, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The same; an error where there is no answer.
    ///
    /// # Errors
    /// What the client says.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let answer = if matches!(method, "GET" | "HEAD") {
            self.agent.run(request.body(()).expect("a request"))?
        } else {
            self.agent.run(request.body(body).expect("a request"))?
        };
        let status = answer.status().as_u16();
        let field = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = answer.headers().iter().map(field).collect();
        let mut body = answer.into_body();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Answer { status, headers, body })
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Answer {
        self.send_with("GET", path, &[], &[])
    }

    /// `POST` of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "application/json", body.to_string().as_bytes())
    }

    /// Hands manifest lines in as a batch, of which every one is taken.
    ///
    /// # Panics
    /// When one is not.
    pub fn hand_in_all(&self, lines: &[u8]) {
        let path = "/v1/contributions:batch";
        let answers = self.send("POST", path, "application/x-ndjson", lines).expect(200).lines();
        let refused = answers.iter().find(|answer| answer.get("problem").is_some());
        assert_eq!(refused, None);
    }

    /// Looks at one contribution until it is in a state.
    ///
    /// # Panics
    /// When it does not come to it in time.
    pub fn await_state(&self, id: &str, state: &str) -> Value {
        let what = format!("{id} to be {state}");
        poll_until(SERVICE_DEADLINE, &what, || {
            let shown = self.get(&format!("/v1/contributions/{id}")).expect(200).json();
            (shown["state"] == state).then_some(shown)
        })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(mut self) -> Output {
        self.process.terminate();
        self.process.wait(SERVICE_DEADLINE)
    }

    /// SIGKILL.
    pub fn kill(self) -> Output {
        self.process.kill()
    }

    /// The resident memory of the process, in bytes.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(&path).expect("the process runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a VmRSS line");
        let kilobytes = line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
        kilobytes.expect("a number of kilobytes") * 1024
    }
}

impl Answer {
    /// The same, when the status is `status`.
    ///
    /// # Panics
    /// When it is another; the body is in the message.
    pub fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "status {} instead of {status}: {text}", self.status);
        self
    }

    /// The same, when it is a problem (RFC 9457) with this status and code.
    ///
    /// # Panics
    /// When it is not.
    pub fn problem(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["type"], format!("/problems/{code}"), "{problem}");
        for field in ["title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
        assert!(problem["retryable"].is_boolean(), "{problem}");
        answer
    }

    /// A header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body's lines, each as JSON.
    ///
    /// # Panics
    /// When one is none.
    pub fn lines(&self) -> Vec<Value> {
        let text = self.text();
        let line = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        text.lines().map(line).collect()
    }
}
