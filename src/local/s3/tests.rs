//! What the contract suite cannot see from outside: the folder, restarts, notifications, strangers.

mod access;
mod disk;
mod notifications;

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{ACCESS_KEY_ID, Deliver, S3, SECRET_ACCESS_KEY};

/// A server on a folder, with a bucket `box` and a queue that remembers.
struct Server {
    client: Client,
    address: std::net::SocketAddr,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    bodies: Vec<serde_json::Value>,
    /// How many deliveries fail before one succeeds.
    failures: u32,
}

const QUEUE: &str = "arn:aws:sqs:eu-central-1:000000000000:q";

impl Server {
    async fn start(folder: &Path) -> Server {
        let queue = Arc::new(Mutex::new(Queue::default()));
        let s3 = S3::open(folder, "eu-central-1", deliver(queue.clone())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept(listener, s3));
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "tests"))
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{address}"))
            .force_path_style(true)
            .build();
        let client = Client::from_conf(config);
        // Err: it is there from before a restart.
        let _ = client.create_bucket().bucket("box").send().await;
        Server { client, address, queue }
    }

    async fn put(&self, key: &str, body: &str) -> Option<String> {
        let body = ByteStream::from(body.as_bytes().to_vec());
        self.client.put_object().bucket("box").key(key).body(body).send().await.unwrap().version_id
    }

    /// None: there is no such object.
    async fn get(&self, key: &str) -> Option<String> {
        let answer = self.client.get_object().bucket("box").key(key).send().await;
        match answer {
            Ok(answer) => Some(String::from_utf8(answer.body.collect().await.unwrap().to_vec()).unwrap()),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_no_such_key()) => None,
            Err(e) => panic!("get {key}: {e:?}"),
        }
    }

    async fn keys(&self) -> Vec<String> {
        let answer = self.client.list_objects_v2().bucket("box").send().await.unwrap();
        answer.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    fn bodies(&self) -> Vec<serde_json::Value> {
        self.queue.lock().unwrap().bodies.clone()
    }
}

fn deliver(queue: Arc<Mutex<Queue>>) -> Deliver {
    Arc::new(move |arn, body| {
        let mut queue = queue.lock().unwrap();
        if arn != QUEUE {
            return Err(format!("there is no queue {arn}"));
        }
        if queue.failures > 0 {
            queue.failures -= 1;
            return Err("not now".to_owned());
        }
        queue.bodies.push(serde_json::from_str(&body).unwrap());
        Ok(())
    })
}

async fn accept(listener: TcpListener, s3: S3) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let s3 = s3.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let s3 = s3.clone();
                async move { Ok::<_, Infallible>(s3.handle(request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
