//! What SSM and Secrets Manager answer, in the one call of each that a worker makes.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

pub const TOKEN: &str = "tok-4711-very-secret";
pub const PASSWORD: &str = "pass:word/with$signs";
pub const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf";

/// Its URL.
pub async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = |headers: HeaderMap, body: String| async move {
        let target = headers.get("x-amz-target").and_then(|t| t.to_str().ok()).unwrap_or_default().to_owned();
        let asked: Value = serde_json::from_str(&body).unwrap_or_default();
        let (status, answer) = match (target.as_str(), asked["Name"].as_str(), asked["SecretId"].as_str()) {
            ("AmazonSSM.GetParameter", Some("/app/token"), _) if asked["WithDecryption"] == true => {
                (StatusCode::OK, json!({"Parameter": {"Name": "/app/token", "Value": TOKEN}}))
            }
            ("secretsmanager.GetSecretValue", _, Some(ARN)) => {
                (StatusCode::OK, json!({"ARN": ARN, "SecretString": PASSWORD}))
            }
            _ => (StatusCode::BAD_REQUEST, json!({"__type": "ParameterNotFound", "message": "none"})),
        };
        (status, [("content-type", "application/x-amz-json-1.1")], answer.to_string())
    };
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}
