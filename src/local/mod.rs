//! An S3 and an SQS inside this process, speaking the real wire protocols on loopback, so that the
//! worker and any SDK or tool can be tried with no AWS account.

pub mod s3;
pub mod sample;
mod server;
pub mod setup;
pub mod sqs;

pub use server::{REGION, Servers};
