//! What events mean: order, duplicates, versions, things that are gone.

use crate::harness::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn smoke() {
    let scenario = Scenario::new().await;
    let worker = scenario.worker("w").await;
    worker.started().await;
    scenario.upload_many("p", 20).await;
    scenario.finish().await;
}
