//! What refuses a call and cuts a stream, judged by those it is for: real SDKs raise what they raise of the provider, and no
//! answer that was cut is taken for a whole one.
//!
//! No Envoy: a small server sends the very bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use crate::support::clients;
use serde_json::Value;
use weir::api::{self, Api};
use weir::units::Span;
use weir::wire::refusal::{self, Kind, Refusal};
use weir::wire::seams::{Framing, Seams};
use weirctl::upstream::{Options, Upstream};

/// A server that answers as the embedded upstream does, and goes wrong as the header `x-refuse` of a request says:
/// `429` or `503`; `cut ended N`: with an error event behind so many thousandths of the answer; `cut broken N`: and then the connection
/// breaks, as it does behind Envoy; `cut 503 N`: another error; `broken N`: without a word.
struct Server {
    address: SocketAddr,
    _upstream: Arc<Upstream>,
}

impl Server {
    fn start() -> Self {
        let options = Options { at_once: true, created: Some(1_800_000_000), ..Options::default() };
        let upstream = Arc::new(Upstream::start("127.0.0.1:0".parse().unwrap(), options).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let behind = upstream.address();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that hangs up early is no failure.
                std::thread::spawn(move || serve(client, behind).ok());
            }
        });
        Self { address, _upstream: upstream }
    }
}

/// A request: method, path, headers, body.
struct Asked {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    fn read(client: &TcpStream) -> std::io::Result<Self> {
        let mut reader = BufReader::new(client);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let asked = Self { method, path, headers, body: Vec::new() };
        let mut body = vec![0; asked.header("content-length").parse().unwrap_or(0)];
        reader.read_exact(&mut body)?;
        Ok(Self { body, ..asked })
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

const LIMIT: &str = "tenant \"tokens\"";

fn refusal(kind: Kind) -> Refusal<'static> {
    Refusal { kind, limit: LIMIT, why: "", retry_after: Some(Span(1_500_000_000)) }
}

fn serve(mut client: TcpStream, upstream: SocketAddr) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let asked = Asked::read(&client)?;
    let api = api::asked(asked.method.as_bytes(), asked.path.as_bytes(), b"").api;
    let way: Vec<&str> = asked.header("x-refuse").split(' ').collect();
    let (kind, cut, breaks, at) = match way[..] {
        ["429"] => return refuse(&mut client, api, Kind::RateLimited),
        ["503"] => return refuse(&mut client, api, Kind::Unavailable),
        ["cut", "ended", at] => (Kind::RateLimited, true, false, at),
        ["cut", "broken", at] => (Kind::RateLimited, true, true, at),
        ["cut", "503", at] => (Kind::Unavailable, true, false, at),
        ["broken", at] => (Kind::RateLimited, false, true, at),
        _ => panic!("{way:?}"),
    };
    let (content_type, whole) = answer(&asked, api, upstream);
    let framing = match &*content_type {
        "text/event-stream" => Framing::Sse,
        "application/vnd.amazon.eventstream" => Framing::Frames,
        _ => Framing::Lines,
    };
    let (gone, rest) = whole.split_at(whole.len() * at.parse::<usize>().unwrap() / 1000);
    let mut seams = Seams::new(framing);
    seams.pass(gone);
    let mut pieces = vec![gone.to_vec()];
    // The rest comes in small pieces, as from an upstream.
    for piece in rest.chunks(50).filter(|_| cut) {
        let Some(seam) = seams.first(piece) else {
            pieces.push(piece.to_vec());
            continue;
        };
        pieces.push([&piece[..seam], &refusal::event(api, &seams, &refusal(kind)).unwrap()].concat());
        break;
    }
    write!(client, "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n")?;
    for piece in pieces {
        write!(client, "{:x}\r\n", piece.len())?;
        client.write_all(&piece)?;
        client.write_all(b"\r\n")?;
    }
    if !breaks {
        client.write_all(b"0\r\n\r\n")?;
    }
    Ok(())
}

fn refuse(client: &mut TcpStream, api: Api, kind: Kind) -> std::io::Result<()> {
    let shaped = refusal::body(api, &refusal(kind));
    write!(client, "HTTP/1.1 {} No\r\ncontent-type: {}\r\n", shaped.status, shaped.content_type)?;
    if let Some((name, value)) = shaped.header {
        write!(client, "{name}: {value}\r\n")?;
    }
    write!(client, "connection: close\r\ncontent-length: {}\r\n\r\n", shaped.body.len())?;
    client.write_all(&shaped.body)
}

/// The whole answer to a streamed call, and its type.
fn answer(asked: &Asked, api: Api, upstream: SocketAddr) -> (String, Vec<u8>) {
    if api == Api::GeminiInteractions {
        // The embedded upstream does not speak it.
        let event = |name: &str, rest: &str| format!("event: {name}\ndata: {{\"event_type\":\"{name}\",{rest}}}\n\n");
        let step = event("step.delta", r#""index":0,"delta":{"type":"text","text":"a"}"#).repeat(20);
        return ("text/event-stream".to_owned(), step.into_bytes());
    }
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let request =
        agent.post(format!("http://{upstream}{}", asked.path)).header("x-demo", "tokens=30,reasoning=0,tools=0");
    let mut answer = request.header("content-type", "application/json").send(&asked.body).unwrap();
    assert_eq!(answer.status(), 200, "{}", asked.path);
    let content_type = answer.headers()["content-type"].to_str().unwrap().split(';').next().unwrap().to_owned();
    (content_type, answer.body_mut().read_to_vec().unwrap())
}

/// What is raised by a call that is refused with 429, and with 503; by a stream that is cut by an event and then ends; and by one
/// whose connection breaks behind the event. `-` is nothing: what came is taken for all there is.
type Row = (&'static str, [&'static str; 4]);

/// Calls that are not streamed have no last two.
const WHOLE: &str = "";

/// Their cut streams raise, but of an event that has not the shape of a chunk: the limit is not named.
const BLUNT: &[&str] = &["mistral chat stream"];

const PYTHON: &[Row] = &[
    ("openai chat", ["RateLimitError", "InternalServerError", WHOLE, WHOLE]),
    ("openai chat stream", ["RateLimitError", "InternalServerError", "APIError", "APIError"]),
    ("openai completions stream", ["RateLimitError", "InternalServerError", "APIError", "APIError"]),
    ("openai responses", ["RateLimitError", "InternalServerError", WHOLE, WHOLE]),
    ("openai responses stream", ["RateLimitError", "InternalServerError", "APIError", "APIError"]),
    ("openai responses helper stream", ["RateLimitError", "InternalServerError", "APIError", "APIError"]),
    ("openai embeddings", ["RateLimitError", "InternalServerError", WHOLE, WHOLE]),
    ("openai models", ["RateLimitError", "InternalServerError", WHOLE, WHOLE]),
    ("anthropic messages", ["RateLimitError", "ServiceUnavailableError", WHOLE, WHOLE]),
    ("anthropic messages stream", ["RateLimitError", "ServiceUnavailableError", "APIStatusError", "APIStatusError"]),
    (
        "anthropic messages helper stream",
        ["RateLimitError", "ServiceUnavailableError", "APIStatusError", "APIStatusError"],
    ),
    ("anthropic count tokens", ["RateLimitError", "ServiceUnavailableError", WHOLE, WHOLE]),
    ("google generate", ["ClientError", "ServerError", WHOLE, WHOLE]),
    ("google generate stream", ["ClientError", "ServerError", "ClientError", "ClientError"]),
    ("google embed", ["ClientError", "ServerError", WHOLE, WHOLE]),
    ("google interactions", ["RateLimitError", "InternalServerError", WHOLE, WHOLE]),
    // Hands the error out as one more event.
    ("google interactions stream", ["RateLimitError", "InternalServerError", "-", "APIConnectionError"]),
    ("bedrock converse", ["ThrottlingException", "ServiceUnavailableException", WHOLE, WHOLE]),
    (
        "bedrock converse stream",
        ["ThrottlingException", "ServiceUnavailableException", "EventStreamError", "EventStreamError"],
    ),
    ("bedrock invoke", ["ThrottlingException", "ServiceUnavailableException", WHOLE, WHOLE]),
    (
        "bedrock invoke stream",
        ["ThrottlingException", "ServiceUnavailableException", "EventStreamError", "EventStreamError"],
    ),
    ("cohere v2 chat", ["TooManyRequestsError", "ServiceUnavailableError", WHOLE, WHOLE]),
    // Has no error in a stream but an end for the reason `ERROR`, which is an event as any other.
    ("cohere v2 chat stream", ["TooManyRequestsError", "ServiceUnavailableError", "-", "RemoteProtocolError"]),
    ("cohere v1 chat", ["TooManyRequestsError", "ServiceUnavailableError", WHOLE, WHOLE]),
    ("cohere v1 chat stream", ["TooManyRequestsError", "ServiceUnavailableError", "-", "RemoteProtocolError"]),
    ("cohere v2 embed", ["TooManyRequestsError", "ServiceUnavailableError", WHOLE, WHOLE]),
    ("mistral chat", ["SDKError", "SDKError", WHOLE, WHOLE]),
    ("mistral chat stream", ["SDKError", "SDKError", "ResponseValidationError", "ResponseValidationError"]),
    ("ollama chat", ["ResponseError", "ResponseError", WHOLE, WHOLE]),
    ("ollama chat stream", ["ResponseError", "ResponseError", "ResponseError", "ResponseError"]),
    ("ollama generate stream", ["ResponseError", "ResponseError", "ResponseError", "ResponseError"]),
    ("ollama embed", ["ResponseError", "ResponseError", WHOLE, WHOLE]),
];

const NPM: &[Row] = &[
    ("openai.js chat", ["RateLimitError", "InternalServerError", WHOLE, WHOLE]),
    ("openai.js chat stream", ["RateLimitError", "InternalServerError", "APIError", "APIError"]),
    ("openai.js responses", ["RateLimitError", "InternalServerError", WHOLE, WHOLE]),
    ("openai.js responses stream", ["RateLimitError", "InternalServerError", "APIError", "APIError"]),
    ("openai.js embeddings", ["RateLimitError", "InternalServerError", WHOLE, WHOLE]),
    ("openai.js models", ["RateLimitError", "InternalServerError", WHOLE, WHOLE]),
    ("anthropic.js messages", ["RateLimitError", "ServiceUnavailableError", WHOLE, WHOLE]),
    ("anthropic.js messages stream", ["RateLimitError", "ServiceUnavailableError", "APIError", "APIError"]),
    ("google.js generate", ["ApiError", "ApiError", WHOLE, WHOLE]),
    ("google.js generate stream", ["ApiError", "ApiError", "ApiError", "ApiError"]),
];

/// Runs a script that makes all calls in all ways, and compares what it tells with the table.
fn judge(script: &mut Command, table: &[Row]) {
    let server = Server::start();
    let run = script.arg(format!("http://{}", server.address)).output().unwrap();
    assert!(run.status.success(), "{script:?}: {}", String::from_utf8_lossy(&run.stderr));
    let told: Vec<Value> =
        String::from_utf8(run.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut wrong = Vec::new();
    for call in &told {
        let Some((_, row)) = table.iter().find(|(name, _)| call["call"] == *name) else {
            wrong.push(format!("is in no row: {call}"));
            continue;
        };
        wrong.extend(unfit(call, row).map(|why| format!("{why}: {call}")));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), told.len(), wrong.join("\n"));
    let calls: usize = table.iter().map(|(_, row)| if row[2] == WHOLE { 2 } else { 8 }).sum();
    assert_eq!(told.len(), calls, "every row is made in every way");
}

/// What is wrong with what a call raised.
fn unfit(call: &Value, row: &[&'static str; 4]) -> Option<String> {
    let way = call["way"].as_str().unwrap();
    let raised = call["raised"][0].as_str().unwrap_or("-");
    let (says, status) = (call["says"].as_str().unwrap_or(""), &call["status"]);
    let streamed = call["chunks"].as_u64() > Some(0);
    let (wanted, names, began) = match way {
        "429" => (row[0], true, false),
        "503" => (row[1], true, false),
        // Who tells the kinds apart by class: as in a refusal.
        "cut 503 300" if row[2] == row[0] => (row[1], true, true),
        _ if way.starts_with("cut ended") || way.starts_with("cut 503") => (row[2], row[2] != "-", true),
        _ if way.starts_with("cut broken") => (row[3], row[2] != "-", true),
        // A connection that breaks is never silent.
        _ => return (raised == "-" || !streamed).then(|| "a broken connection is silent".to_owned()),
    };
    if raised != wanted {
        return Some(format!("raises {raised}, not {wanted}"));
    }
    if streamed != began {
        return Some("the events before a cut arrive, and none with a refusal".to_owned());
    }
    // `tenant "tokens"`, however the SDK quotes.
    let told = says.contains("tenant") && says.contains("tokens") && says.contains("try again in 1.500s");
    if names && !told && !(began && BLUNT.iter().any(|name| call["call"] == *name)) {
        return Some("does not say which limit, and until when".to_owned());
    }
    (!began && status.as_u64().is_some_and(|status| !way.starts_with(&status.to_string())))
        .then(|| "has another status".to_owned())
}

#[test]
fn python_sdks_raise_what_they_raise_of_the_provider() {
    let Some(mut script) = clients::python("refusals.py") else { return };
    judge(&mut script, PYTHON);
}

#[test]
fn npm_packages_raise_what_they_raise_of_the_provider() {
    let Some(mut script) = clients::node("refusals.mjs") else { return };
    judge(&mut script, NPM);
}
