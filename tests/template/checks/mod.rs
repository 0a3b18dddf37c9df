//! What is asserted of every resolved stack. A check pushes a line for each thing that is wrong.

pub mod access;
pub mod compute;
pub mod input;
pub mod network;
pub mod scaling;
pub mod storage;
pub mod telling;
pub mod worker;

use super::Stack;

/// Notes a line unless it is true.
pub fn want(wrong: &mut Vec<String>, true_: bool, line: impl FnOnce() -> String) {
    if !true_ {
        wrong.push(line());
    }
}

/// Fails the test with every line of every set, so that one run shows all there is to mend.
pub fn all_stacks(check: impl Fn(&Stack, &mut Vec<String>)) {
    let mut lines = Vec::new();
    for stack in super::stacks() {
        let mut wrong = Vec::new();
        check(stack, &mut wrong);
        lines.extend(wrong.into_iter().map(|line| format!("with {}: {line}", stack.set)));
    }
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
}
