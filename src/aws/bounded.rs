//! Answers that end: whoever speaks in AWS's place cannot fill our memory.

use aws_sdk_s3::config::{ConfigBag, HttpClient, RuntimeComponents, SharedHttpClient};
use aws_sdk_s3::error::{BoxError, ConnectorError};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime::client::defaults::default_http_client_plugin_v2;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use http_body_util::Limited;

/// The SDK's own HTTP client, which reads no more of an answer than an honest one can have.
#[derive(Debug)]
pub struct Bounded(SharedHttpClient);

/// Errors, credentials, and a page of a listing: a thousand keys of up to 1,024 bytes, each byte written
/// with up to three.
const ANSWER: usize = 8 << 20;
/// Ten messages of 1 MiB, each byte written with up to three.
const MESSAGES: usize = 32 << 20;

impl Bounded {
    /// Each has connections of its own: those of one runtime never carry the calls of another.
    pub fn new() -> Self {
        let plugin =
            default_http_client_plugin_v2(BehaviorVersion::latest()).expect("the feature for it is on");
        let parts = plugin.runtime_components(&RuntimeComponentsBuilder::new("longshore"));
        Self(parts.http_client().expect("it is what the plugin is for"))
    }
}

impl HttpClient for Bounded {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector(self.0.http_connector(settings, components)))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

#[derive(Debug)]
struct Connector(SharedHttpConnector);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked = Asked::of(&request);
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move { Ok::<_, ConnectorError>(bounded(answer.await?, asked)) })
    }
}

fn bounded(answer: HttpResponse, asked: Asked) -> HttpResponse {
    match asked.most(answer.status().is_success()) {
        Some(most) => answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, most))),
        None => answer,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Object,
    Messages,
    Other,
}

impl Asked {
    fn of(request: &HttpRequest) -> Self {
        let (_, query) = request.uri().split_once('?').unwrap_or_default();
        if query.split('&').any(|pair| pair == "x-id=GetObject") {
            return Self::Object;
        }
        match request.headers().get("x-amz-target") {
            Some("AmazonSQS.ReceiveMessage") => Self::Messages,
            _ => Self::Other,
        }
    }

    /// None: `store` counts as it reads.
    fn most(self, success: bool) -> Option<usize> {
        match self {
            Self::Object if success => None,
            Self::Messages if success => Some(MESSAGES),
            _ => Some(ANSWER),
        }
    }
}
