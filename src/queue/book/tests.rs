use super::*;

const VISIBILITY: Duration = Duration::from_secs(90);

fn message(id: &str, receipt: &str, received_at: Instant) -> Message {
    Message {
        id: id.into(),
        receipt: receipt.into(),
        body: String::new(),
        receive_count: 1,
        sent_at: None,
        first_received_at: None,
        trace_header: None,
        received_at,
    }
}

fn book() -> (Book, Instant) {
    (Book::new(Timing::new(VISIBILITY)), Instant::now())
}

fn only(batches: &[Batch]) -> &Batch {
    assert_eq!(batches.len(), 1, "{batches:?}");
    &batches[0]
}

fn lost() -> Result<(), EntryError> {
    Err(EntryError::OwnershipLost("ReceiptHandleIsInvalid".into()))
}

fn transient() -> Result<(), EntryError> {
    Err(EntryError::Transient("throttled".into()))
}

#[test]
fn a_lease_is_renewed_at_a_third_of_its_time_counted_from_the_receive() {
    let (mut book, t0) = book();
    book.hold(&message("m", "r", t0)).unwrap();
    let (batches, wake) = book.due(t0 + Duration::from_secs(1), false);
    assert!(batches.is_empty());
    let wake = wake.unwrap();
    assert!((27..=30).contains(&(wake - t0).as_secs()), "{:?}", wake - t0);
    let (batches, _) = book.due(wake, false);
    let batch = only(&batches);
    assert_eq!((batch.action, batch.entries[0].visibility), (Action::Renew, VISIBILITY));
}

#[test]
fn nothing_else_is_sent_while_a_request_is_under_way() {
    let (mut book, t0) = book();
    let generation = book.hold(&message("m", "r", t0)).unwrap();
    let t1 = t0 + Duration::from_secs(31);
    let (renewal, _) = book.due(t1, false);
    book.settle("m", generation, Settlement::Release(Cause::CutOff), None, t1);
    assert!(book.due(t1, true).0.is_empty(), "a release must wait for the renewal under way");
    book.complete(Action::Renew, &only(&renewal).tickets[0], &Ok(()), t1, t1);
    let (batches, _) = book.due(t1, true);
    let batch = only(&batches);
    assert_eq!((batch.action, batch.entries[0].visibility), (Action::Leave, Duration::ZERO));
    book.complete(Action::Leave, &batch.tickets[0], &Ok(()), t1, t1);
    assert_eq!((book.len(), book.counts.released()), (0, 1));
}

#[test]
fn deletes_wait_for_company_but_not_long() {
    let (mut book, t0) = book();
    for n in 0..3 {
        let id = n.to_string();
        let generation = book.hold(&message(&id, &id, t0)).unwrap();
        book.settle(&id, generation, Settlement::Delete, None, t0);
    }
    let (batches, wake) = book.due(t0, false);
    assert!(batches.is_empty() && book.is_settling());
    assert_eq!(wake, Some(t0 + Duration::from_millis(100)));
    let (batches, _) = book.due(wake.unwrap(), false);
    assert_eq!((only(&batches).action, only(&batches).entries.len()), (Action::Delete, 3));
}

#[test]
fn hurried_deletes_wait_for_nobody() {
    let (mut book, t0) = book();
    let generation = book.hold(&message("m", "r", t0)).unwrap();
    book.settle("m", generation, Settlement::Delete, None, t0);
    assert!(book.due(t0, false).0.is_empty());
    book.hurry();
    let (batches, _) = book.due(t0, false);
    assert_eq!(only(&batches).action, Action::Delete);
    assert!(!book.is_over("m", generation), "not confirmed yet");
    book.complete(Action::Delete, &only(&batches).tickets[0], &Ok(()), t0, t0);
    assert!(book.is_over("m", generation));
}

#[test]
fn renewals_that_failed_go_along_with_any_other() {
    let (mut book, t0) = book();
    book.hold(&message("a", "a", t0)).unwrap();
    book.hold(&message("b", "b", t0 + Duration::from_secs(10))).unwrap();
    let t1 = t0 + Duration::from_secs(30);
    let (batches, _) = book.due(t1, false);
    assert_eq!(only(&batches).entries.len(), 1, "the other is not due for long");
    // Twice in a row: its next try would come at a time of its own.
    let t2 = t0 + Duration::from_secs(40);
    book.complete(Action::Renew, &only(&batches).tickets[0], &transient(), t1, t2);
    let (batches, wake) = book.due(t2, false);
    assert_eq!(only(&batches).entries.len(), 2, "the one that failed, and the one that is due");
    assert_eq!(only(&batches).entries[0].receipt, "a", "the one that failed goes first");
    book.complete(Action::Renew, &only(&batches).tickets[0], &transient(), t2, t2);
    book.complete(Action::Renew, &only(&batches).tickets[1], &transient(), t2, t2);
    assert!(wake.is_none());
    let (batches, wake) = book.due(t2, false);
    assert!(batches.is_empty() && wake.unwrap() > t2, "nothing is sent before it is due");
    assert_eq!(only(&book.due(wake.unwrap(), false).0).entries.len(), 2);
}

#[test]
fn a_message_is_renewed_until_its_delete_is_confirmed() {
    let (mut book, t0) = book();
    let generation = book.hold(&message("m", "r", t0)).unwrap();
    book.settle("m", generation, Settlement::Delete, None, t0);
    let (batches, _) = book.due(t0, true);
    book.complete(Action::Delete, &only(&batches).tickets[0], &transient(), t0, t0 + Duration::from_secs(40));
    let (batches, _) = book.due(t0 + Duration::from_secs(40), true);
    assert_eq!(only(&batches).action, Action::Renew, "its lease is due, its next delete is not yet");
}

#[test]
fn only_the_failed_entries_of_a_delete_are_tried_again() {
    let (mut book, t0) = book();
    for id in ["a", "b"] {
        let generation = book.hold(&message(id, id, t0)).unwrap();
        book.settle(id, generation, Settlement::Delete, None, t0);
    }
    let (batches, _) = book.due(t0, true);
    let batch = only(&batches);
    book.complete(Action::Delete, &batch.tickets[0], &Ok(()), t0, t0);
    book.complete(Action::Delete, &batch.tickets[1], &transient(), t0, t0);
    let (batches, _) = book.due(t0 + Duration::from_secs(1), true);
    assert_eq!(only(&batches).tickets, [batch.tickets[1].clone()]);
}

#[test]
fn a_message_received_again_while_it_runs_is_adopted_and_deleted_with_the_newest_handle() {
    let (mut book, t0) = book();
    let generation = book.hold(&message("m", "old", t0)).unwrap();
    book.settle("m", generation, Settlement::Delete, None, t0);
    let (batches, _) = book.due(t0, true);
    assert_eq!(book.hold(&message("m", "new", t0)), None, "its job must not start twice");
    book.complete(Action::Delete, &only(&batches).tickets[0], &Ok(()), t0, t0);
    assert_eq!(book.len(), 1, "the delete with the old handle deleted nothing");
    let (batches, _) = book.due(t0, true);
    assert_eq!(only(&batches).entries[0].receipt, "new");
    book.complete(Action::Delete, &only(&batches).tickets[0], &Ok(()), t0, t0);
    assert_eq!((book.len(), book.counts.deleted, book.counts.redelivered), (0, 1, 1));
}

#[test]
fn a_lost_message_is_neither_renewed_nor_deleted_and_is_counted() {
    let (mut book, t0) = book();
    let generation = book.hold(&message("m", "r", t0)).unwrap();
    let t1 = t0 + Duration::from_secs(31);
    let (batches, _) = book.due(t1, false);
    book.complete(Action::Renew, &only(&batches).tickets[0], &lost(), t1, t1);
    assert!(book.is_lost("m", generation));
    assert!(book.due(t1 + VISIBILITY, true).0.is_empty());
    book.settle("m", generation, Settlement::Delete, None, t1);
    assert!(book.due(t1, true).0.is_empty());
    assert_eq!((book.len(), book.counts.ownership_lost, book.counts.deleted), (0, 1, 0));
}

#[test]
fn a_lost_message_that_comes_back_to_us_is_ours_again() {
    let (mut book, t0) = book();
    let generation = book.hold(&message("m", "old", t0)).unwrap();
    let t1 = t0 + Duration::from_secs(31);
    let (batches, _) = book.due(t1, false);
    book.complete(Action::Renew, &only(&batches).tickets[0], &lost(), t1, t1);
    assert_eq!(book.hold(&message("m", "new", t1)), None);
    assert!(!book.is_lost("m", generation));
    book.settle("m", generation, Settlement::Delete, None, t1);
    assert_eq!(only(&book.due(t1, true).0).entries[0].receipt, "new");
}

#[test]
fn no_more_than_what_is_left_of_twelve_hours_is_asked_for() {
    let (mut book, t0) = book();
    book.hold(&message("m", "r", t0)).unwrap();
    let late = t0 + HIDDEN_AT_MOST - Duration::from_secs(20);
    assert_eq!(only(&book.due(late, false).0).entries[0].visibility, Duration::from_secs(20));
    let (mut book, t0) = self::book();
    book.hold(&message("m", "r", t0)).unwrap();
    assert!(book.due(t0 + HIDDEN_AT_MOST, false).0.is_empty());
}

#[test]
fn batches_hold_ten_entries_of_one_kind() {
    let (mut book, t0) = book();
    for n in 0..25 {
        let id = n.to_string();
        let generation = book.hold(&message(&id, &id, t0)).unwrap();
        if n % 2 == 0 {
            book.settle(&id, generation, Settlement::Retry(Duration::from_secs(5)), None, t0);
        }
    }
    let (batches, _) = book.due(t0 + Duration::from_secs(31), false);
    let shape: Vec<_> = batches.iter().map(|b| (b.action, b.entries.len())).collect();
    assert_eq!(shape, [(Action::Renew, 10), (Action::Renew, 2), (Action::Leave, 10), (Action::Leave, 3)]);
}

#[test]
fn every_message_received_is_accounted_for() {
    let (mut book, t0) = book();
    for (id, settlement) in [
        ("a", Some(Settlement::Delete)),
        ("b", Some(Settlement::DeadLettered)),
        ("c", Some(Settlement::Retry(Duration::from_secs(1)))),
        ("d", Some(Settlement::Release(Cause::NotBegun))),
        ("e", None),
    ] {
        let generation = book.hold(&message(id, id, t0)).unwrap();
        if let Some(settlement) = settlement {
            book.settle(id, generation, settlement, None, t0);
        }
    }
    let (batches, _) = book.due(t0, true);
    for batch in &batches {
        for ticket in &batch.tickets {
            book.complete(batch.action, ticket, &Ok(()), t0, t0);
        }
    }
    let c = book.counts;
    assert_eq!((c.deleted, c.dead_lettered, c.retried, c.released(), book.len()), (1, 1, 1, 1, 1));
    assert_eq!(c.received, c.ended() + book.len() as u64);
}
