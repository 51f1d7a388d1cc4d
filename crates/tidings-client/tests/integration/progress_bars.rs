//! Tests an existing progress bar, as the server sees it.

#![cfg(feature = "indicatif")]

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidings_client::Client;
use tidings_testkit::{DEADLINE, TestConfig, TestServer};

#[tokio::test]
async fn a_bar_that_is_not_even_drawn_reports_where_it_is() {
    let server = TestServer::start(TestConfig::default()).await;
    let client = Client::connect(format!("http://{}", server.addr()))
        .await
        .unwrap();
    let task = client.task("copy-1").start().await.unwrap();
    let bar = ProgressBar::with_draw_target(Some(500), ProgressDrawTarget::hidden());
    bar.set_style(tidings_client::indicatif::report(
        ProgressStyle::default_bar(),
        &task,
    ));
    for _ in 0..500 {
        bar.inc(1);
    }
    bar.tick();
    assert_eq!(client.flush(DEADLINE).await, 0);
    let state = server.bus().snapshot(&"copy-1".parse().unwrap()).unwrap();
    assert_eq!(state.progress, Some(100.0));
    assert!(
        state.offset.get() < 100,
        "not every step of it: {}",
        state.offset
    );
}
