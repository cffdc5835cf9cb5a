//! Errors instead of an answer, as each provider words them.

use serde_json::{Value, json};

use crate::upstream::answer::Answer;
use crate::upstream::ask::{Api, Ask};

/// An error with this status.
pub fn refuse(ask: &Ask, status: u16) -> Answer {
    let message = message(status);
    let mut answer = Answer::document(status, &body(ask, status, message));
    if matches!(ask.api, Api::Converse | Api::Invoke) {
        let kind = match status {
            429 => "ThrottlingException",
            403 => "AccessDeniedException",
            400 => "ValidationException",
            503 => "ServiceUnavailableException",
            _ => "InternalServerException",
        };
        answer =
            answer.header("x-amzn-errortype", format!("{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"));
    }
    match status {
        429 => answer.header("retry-after", 1),
        _ => answer,
    }
}

/// A path that nothing answers at.
pub fn not_found(path: &str) -> Answer {
    let message = format!("Unknown request URL: {path}");
    let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": "unknown_url"});
    Answer::document(404, &json!({"error": error}))
}

fn message(status: u16) -> &'static str {
    match status {
        400 => "The request could not be understood.",
        401 => "Incorrect API key provided.",
        403 => "You do not have access to this model.",
        404 => "The model does not exist or you do not have access to it.",
        429 => "Rate limit reached: 60000 tokens per minute. Please try again in 1s.",
        503 | 529 => "The engine is currently overloaded, please try again later.",
        _ => "The server had an error while processing your request.",
    }
}

fn body(ask: &Ask, status: u16, message: &str) -> Value {
    match ask.api {
        Api::Messages => {
            let kind = match status {
                401 => "authentication_error",
                403 => "permission_error",
                404 => "not_found_error",
                429 => "rate_limit_error",
                503 | 529 => "overloaded_error",
                400 => "invalid_request_error",
                _ => "api_error",
            };
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CdufXexampleexample"})
        }
        Api::Gemini => {
            let name = match status {
                400 => "INVALID_ARGUMENT",
                401 => "UNAUTHENTICATED",
                403 => "PERMISSION_DENIED",
                404 => "NOT_FOUND",
                429 => "RESOURCE_EXHAUSTED",
                503 => "UNAVAILABLE",
                _ => "INTERNAL",
            };
            json!({"error": {"code": status, "message": message, "status": name}})
        }
        Api::Converse | Api::Invoke | Api::CohereV1 | Api::CohereV2 => json!({"message": message}),
        Api::OllamaChat | Api::OllamaGenerate => json!({"error": message}),
        _ => {
            let (kind, code) = match status {
                401 => ("invalid_request_error", json!("invalid_api_key")),
                404 => ("invalid_request_error", json!("model_not_found")),
                429 => ("tokens", json!("rate_limit_exceeded")),
                400..500 => ("invalid_request_error", Value::Null),
                _ => ("server_error", Value::Null),
            };
            json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
        }
    }
}
