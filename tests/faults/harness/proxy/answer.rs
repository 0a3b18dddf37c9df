//! Refusals as AWS words them, and answers edited on their way.

use super::call::{Call, Operation};
use bytes::Bytes;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// An error in the protocol of the service that was called: XML for S3, JSON for SQS.
pub fn error(call: &Call, status: u16, code: &str) -> Response<Bytes> {
    error_saying(call, status, code, &format!("{code}, said by the fault proxy"))
}

pub fn error_saying(call: &Call, status: u16, code: &str, message: &str) -> Response<Bytes> {
    let mut response = Response::builder().status(status).header("x-amzn-requestid", "fault-proxy");
    let body = if call.operation.is_s3() {
        response = response.header("content-type", "application/xml");
        match call.operation {
            // Answers to HEAD have no body.
            Operation::HeadObject => String::new(),
            _ => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
                 <RequestId>fault-proxy</RequestId></Error>"
            ),
        }
    } else {
        let blame = if status < 500 { "Sender" } else { "Receiver" };
        response = response
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amzn-query-error", format!("{code};{blame}"));
        let shape = code.rsplit('.').next().unwrap_or(code);
        let shape = if shape == "NonExistentQueue" { "QueueDoesNotExist" } else { shape };
        json!({"__type": format!("com.amazonaws.sqs#{shape}"), "message": message}).to_string()
    };
    response.body(Bytes::from(body)).expect("these headers are plain ASCII")
}

/// The code of an error of S3. Answers to HEAD have none.
pub fn code(answer: &Response<Bytes>) -> Option<String> {
    if answer.status().as_u16() < 400 {
        return None;
    }
    let (_, rest) = std::str::from_utf8(answer.body()).ok()?.split_once("<Code>")?;
    Some(rest.split_once("</Code>")?.0.to_owned())
}

/// The head of an answer of any kind.
pub fn head(call: &Call, status: u16) -> Response<Bytes> {
    let format = if call.operation.is_s3() { "application/xml" } else { "application/x-amz-json-1.0" };
    let response = Response::builder().status(status).header("content-type", format);
    response.body(Bytes::new()).expect("these headers are plain ASCII")
}

/// S3 does not send on whoever asks in another region, but says where to.
pub fn elsewhere(call: &Call, region: &str) -> Response<Bytes> {
    let mut response = head(call, 301);
    response.headers_mut().insert("x-amz-bucket-region", region.parse().expect("a region is plain ASCII"));
    response
}

/// Takes some entries out of a batch request. None if all are taken out.
pub fn without(request: &Value, taken: impl Fn(usize) -> bool) -> Option<Value> {
    let mut kept = request.clone();
    let entries = kept["Entries"].as_array_mut()?;
    let mut position = 0;
    entries.retain(|_| {
        position += 1;
        !taken(position - 1)
    });
    let any = !entries.is_empty();
    any.then_some(kept)
}

/// Puts the entries that were taken out into the answer, as failed.
pub fn with_failed(request: &Value, answer: &mut Value, code: &str, taken: impl Fn(usize) -> bool) {
    let entries = request["Entries"].as_array().cloned().unwrap_or_default();
    let taken = entries.iter().enumerate().filter(|(n, _)| taken(*n)).map(|(_, e)| e);
    let failed: Vec<Value> = taken
        .map(|e| json!({"Id": e["Id"], "SenderFault": false, "Code": code, "Message": "said by the fault proxy"}))
        .collect();
    if answer["Failed"].is_array() {
        answer["Failed"].as_array_mut().expect("just looked at").extend(failed);
    } else {
        answer["Failed"] = Value::Array(failed);
    }
    if answer["Successful"].is_null() {
        answer["Successful"] = json!([]);
    }
}

/// The first message of a receive, twice.
pub fn with_first_twice(answer: &mut Value) {
    if let Some(messages) = answer["Messages"].as_array_mut()
        && let Some(first) = messages.first().cloned()
    {
        messages.insert(1, first);
    }
}

/// An answer with another body of JSON.
pub fn replaced(response: Response<Bytes>, body: &Value) -> Response<Bytes> {
    let (mut parts, _) = response.into_parts();
    parts.headers.remove("content-length");
    Response::from_parts(parts, Bytes::from(body.to_string()))
}

/// What is answered when everything of a batch was taken out.
pub fn empty() -> Response<Bytes> {
    let response =
        Response::builder().status(StatusCode::OK).header("content-type", "application/x-amz-json-1.0");
    response.body(Bytes::from_static(b"{}")).expect("this header is plain ASCII")
}
