//! What the embedded SQS answers when it refuses, in the form every AWS SDK turns into a typed error.

use bytes::Bytes;
use hyper::{Response, StatusCode, header};
use serde_json::json;

/// A refused request: which AWS error it is, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub message: String,
}

/// The AWS errors this server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    AccessDenied,
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InternalError,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MessageNotInflight,
    MissingAuthenticationToken,
    MissingParameter,
    OverLimit,
    PurgeQueueInProgress,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    ResourceNotFound,
    Serialization,
    ServiceUnavailable,
    TooManyEntriesInBatchRequest,
    UnknownOperation,
    UnsupportedOperation,
}

impl Kind {
    pub fn with(self, message: impl Into<String>) -> Fault {
        Fault { kind: self, message: message.into() }
    }

    /// The error's name in the JSON protocol, from which an SDK picks its type.
    fn shape(self) -> &'static str {
        match self {
            Kind::AccessDenied => "com.amazon.coral.service#AccessDeniedException",
            Kind::BatchEntryIdsNotDistinct => "com.amazonaws.sqs#BatchEntryIdsNotDistinct",
            Kind::BatchRequestTooLong => "com.amazonaws.sqs#BatchRequestTooLong",
            Kind::EmptyBatchRequest => "com.amazonaws.sqs#EmptyBatchRequest",
            Kind::InternalError => "com.amazon.coral.service#InternalFailure",
            Kind::InvalidAttributeName => "com.amazonaws.sqs#InvalidAttributeName",
            Kind::InvalidAttributeValue => "com.amazonaws.sqs#InvalidAttributeValue",
            Kind::InvalidBatchEntryId => "com.amazonaws.sqs#InvalidBatchEntryId",
            Kind::InvalidMessageContents => "com.amazonaws.sqs#InvalidMessageContents",
            Kind::InvalidParameterValue => "com.amazonaws.sqs#InvalidParameterValueException",
            Kind::MessageNotInflight => "com.amazonaws.sqs#MessageNotInflight",
            Kind::MissingAuthenticationToken => {
                "com.amazon.coral.service#MissingAuthenticationTokenException"
            }
            Kind::MissingParameter => "com.amazonaws.sqs#MissingRequiredParameterException",
            Kind::OverLimit => "com.amazonaws.sqs#OverLimit",
            Kind::PurgeQueueInProgress => "com.amazonaws.sqs#PurgeQueueInProgress",
            Kind::QueueDoesNotExist => "com.amazonaws.sqs#QueueDoesNotExist",
            Kind::QueueNameExists => "com.amazonaws.sqs#QueueNameExists",
            Kind::ReceiptHandleIsInvalid => "com.amazonaws.sqs#ReceiptHandleIsInvalid",
            Kind::ResourceNotFound => "com.amazonaws.sqs#ResourceNotFoundException",
            Kind::Serialization => "com.amazon.coral.service#SerializationException",
            Kind::ServiceUnavailable => "com.amazon.coral.service#ServiceUnavailableException",
            Kind::TooManyEntriesInBatchRequest => "com.amazonaws.sqs#TooManyEntriesInBatchRequest",
            Kind::UnknownOperation => "com.amazon.coral.service#UnknownOperationException",
            Kind::UnsupportedOperation => "com.amazonaws.sqs#UnsupportedOperation",
        }
    }

    /// The error's name in the older query protocol. SDKs still show it as the code, and batch
    /// entries carry it.
    pub fn code(self) -> &'static str {
        match self {
            Kind::AccessDenied => "AccessDenied",
            Kind::BatchEntryIdsNotDistinct => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            Kind::BatchRequestTooLong => "AWS.SimpleQueueService.BatchRequestTooLong",
            Kind::EmptyBatchRequest => "AWS.SimpleQueueService.EmptyBatchRequest",
            Kind::InternalError => "InternalError",
            Kind::InvalidAttributeName => "InvalidAttributeName",
            Kind::InvalidAttributeValue => "InvalidAttributeValue",
            Kind::InvalidBatchEntryId => "AWS.SimpleQueueService.InvalidBatchEntryId",
            Kind::InvalidMessageContents => "InvalidMessageContents",
            Kind::InvalidParameterValue => "InvalidParameterValue",
            Kind::MessageNotInflight => "AWS.SimpleQueueService.MessageNotInflight",
            Kind::MissingAuthenticationToken => "MissingAuthenticationToken",
            Kind::MissingParameter => "MissingParameter",
            Kind::OverLimit => "OverLimit",
            Kind::PurgeQueueInProgress => "AWS.SimpleQueueService.PurgeQueueInProgress",
            Kind::QueueDoesNotExist => "AWS.SimpleQueueService.NonExistentQueue",
            Kind::QueueNameExists => "QueueAlreadyExists",
            Kind::ReceiptHandleIsInvalid => "ReceiptHandleIsInvalid",
            Kind::ResourceNotFound => "ResourceNotFoundException",
            Kind::Serialization => "SerializationException",
            Kind::ServiceUnavailable => "ServiceUnavailable",
            Kind::TooManyEntriesInBatchRequest => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            Kind::UnknownOperation => "UnknownOperationException",
            Kind::UnsupportedOperation => "AWS.SimpleQueueService.UnsupportedOperation",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Kind::AccessDenied | Kind::MissingAuthenticationToken | Kind::OverLimit => StatusCode::FORBIDDEN,
            Kind::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether the sender is to blame; SDKs retry only what is not.
    pub fn sender_fault(self) -> bool {
        self.status().is_client_error()
    }
}

impl Fault {
    pub fn invalid(parameter: &str, value: impl std::fmt::Display, reason: &str) -> Fault {
        Kind::InvalidParameterValue
            .with(format!("value {value} for parameter {parameter} is invalid: {reason}"))
    }

    pub fn missing(parameter: &str) -> Fault {
        Kind::MissingParameter.with(format!("the request must contain the parameter {parameter}"))
    }

    pub fn no_queue(name: &str) -> Fault {
        Kind::QueueDoesNotExist.with(format!("the specified queue does not exist: {name}"))
    }

    pub fn response(&self) -> Response<Bytes> {
        let body = json!({ "__type": self.kind.shape(), "message": self.message });
        let blame = if self.kind.sender_fault() { "Sender" } else { "Receiver" };
        let mut response = reply(self.kind.status(), body.to_string());
        let code = header::HeaderValue::from_str(&format!("{};{blame}", self.kind.code()));
        response.headers_mut().insert("x-amzn-query-error", code.expect("error codes are plain ASCII"));
        response
    }
}

/// A response in the AWS JSON protocol.
pub fn reply(status: StatusCode, body: String) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/x-amz-json-1.0")
        .header("x-amzn-requestid", super::message::MessageId::random().to_string())
        .body(Bytes::from(body))
        .expect("these headers are plain ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_its_type_in_both_protocols() {
        let response = Fault::no_queue("thumbs").response();
        assert_eq!(response.status(), 400);
        assert_eq!(
            response.headers()["x-amzn-query-error"],
            "AWS.SimpleQueueService.NonExistentQueue;Sender"
        );
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["__type"], "com.amazonaws.sqs#QueueDoesNotExist");
        assert_eq!(body["message"], "the specified queue does not exist: thumbs");
    }

    #[test]
    fn a_full_disk_is_not_blamed_on_the_sender() {
        let response = Kind::InternalError.with("journal").response();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["x-amzn-query-error"], "InternalError;Receiver");
    }
}
