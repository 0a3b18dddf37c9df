//! CloudWatch's metric math, as much of it as the template uses, on series with gaps.

use std::collections::BTreeMap;

/// One value a period; None where nothing was reported.
pub type Series = Vec<Option<f64>>;

/// # Errors
///
/// The expression cannot be parsed, or names a metric that is not there.
pub fn evaluate(expression: &str, metrics: &BTreeMap<String, Series>, period: f64) -> Result<Series, String> {
    let length = metrics.values().map(Vec::len).max().unwrap_or(1);
    let mut parser = Parser { tokens: tokens(expression)?, at: 0, metrics, period };
    let value = parser.any_of()?;
    match parser.tokens.get(parser.at) {
        None => Ok(value.series(length)),
        Some(extra) => Err(format!("{extra:?} is left over in {expression:?}")),
    }
}

/// Every identifier that is no function: the metrics that an expression asks for.
pub fn metrics_of(expression: &str) -> Result<Vec<String>, String> {
    let tokens = tokens(expression)?;
    let named = tokens.iter().enumerate().filter_map(|(i, t)| match t {
        Token::Name(name) if name.starts_with(|c: char| c.is_ascii_lowercase()) => {
            (tokens.get(i + 1) != Some(&Token::Symbol("("))).then(|| name.clone())
        }
        _ => None,
    });
    Ok(named.collect())
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    Symbol(&'static str),
}

const SYMBOLS: [&str; 14] = ["<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "(", ")", ",", "|"];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = |keep: fn(char) -> bool| rest.find(|c| !keep(c)).unwrap_or(rest.len());
        let (token, length) = if first.is_ascii_digit() {
            let end = end(|c| c.is_ascii_digit() || c == '.');
            (Token::Number(rest[..end].parse().map_err(|_| format!("no number: {rest}"))?), end)
        } else if first.is_ascii_alphabetic() {
            let end = end(|c| c.is_ascii_alphanumeric() || c == '_');
            (Token::Name(rest[..end].to_owned()), end)
        } else {
            let symbol = SYMBOLS.iter().find(|s| rest.starts_with(**s));
            let symbol = symbol.ok_or_else(|| format!("{first:?} in {text:?}"))?;
            (Token::Symbol(symbol), symbol.len())
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

#[derive(Debug, Clone)]
enum Operand {
    Scalar(f64),
    Series(Series),
}

impl Operand {
    fn series(self, length: usize) -> Series {
        match self {
            Self::Scalar(number) => vec![Some(number); length],
            Self::Series(series) => series,
        }
    }

    /// Point by point; a gap in either makes a gap.
    fn with(self, other: Self, operate: impl Fn(f64, f64) -> Option<f64>) -> Self {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => {
                operate(a, b).map_or(Self::Series(vec![None]), Self::Scalar)
            }
            (a, b) => {
                let length = a.length().max(b.length());
                let pairs = a.series(length).into_iter().zip(b.series(length));
                Self::Series(pairs.map(|(a, b)| operate(a?, b?)).collect())
            }
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Scalar(_) => 1,
            Self::Series(series) => series.len(),
        }
    }
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    metrics: &'a BTreeMap<String, Series>,
    period: f64,
}

type Parsed = Result<Operand, String>;

impl Parser<'_> {
    fn take(&mut self, symbols: &[&'static str]) -> Option<&'static str> {
        match self.tokens.get(self.at) {
            Some(Token::Symbol(s)) if symbols.contains(s) => {
                self.at += 1;
                Some(s)
            }
            _ => None,
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Name(n)) if n == word);
        self.at += usize::from(found);
        found
    }

    fn any_of(&mut self) -> Parsed {
        let mut left = self.all_of()?;
        while self.word("OR") {
            left = left.with(self.all_of()?, |a, b| Some(f64::from(a != 0.0 || b != 0.0)));
        }
        Ok(left)
    }

    fn all_of(&mut self) -> Parsed {
        let mut left = self.compared()?;
        while self.word("AND") {
            left = left.with(self.compared()?, |a, b| Some(f64::from(a != 0.0 && b != 0.0)));
        }
        Ok(left)
    }

    fn compared(&mut self) -> Parsed {
        let left = self.sum()?;
        let Some(symbol) = self.take(&["<=", ">=", "==", "!=", "<", ">"]) else { return Ok(left) };
        let right = self.sum()?;
        Ok(left.with(right, |a, b| {
            Some(f64::from(match symbol {
                "<=" => a <= b,
                ">=" => a >= b,
                "==" => a == b,
                "!=" => a != b,
                "<" => a < b,
                _ => a > b,
            }))
        }))
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        while let Some(symbol) = self.take(&["+", "-"]) {
            let sign = if symbol == "+" { 1.0 } else { -1.0 };
            left = left.with(self.product()?, |a, b| Some(a + sign * b));
        }
        Ok(left)
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.atom()?;
        while let Some(symbol) = self.take(&["*", "/"]) {
            left = left.with(self.atom()?, |a, b| match symbol {
                "*" => Some(a * b),
                // CloudWatch drops a point that is divided by zero.
                _ => (b != 0.0).then(|| a / b),
            });
        }
        Ok(left)
    }

    fn atom(&mut self) -> Parsed {
        if self.take(&["("]).is_some() {
            let inner = self.any_of()?;
            return self.take(&[")"]).map(|_| inner).ok_or_else(|| "a parenthesis is open".into());
        }
        let token = self.tokens.get(self.at).cloned().ok_or("the expression ends too early")?;
        self.at += 1;
        match token {
            Token::Number(number) => Ok(Operand::Scalar(number)),
            Token::Name(name) if self.take(&["("]).is_some() => {
                let arguments = self.arguments()?;
                self.call(&name, arguments)
            }
            Token::Name(name) => match self.metrics.get(&name) {
                Some(series) => Ok(Operand::Series(series.clone())),
                None => Err(format!("there is no metric {name}")),
            },
            Token::Symbol(symbol) => Err(format!("{symbol} where a value should be")),
        }
    }

    fn arguments(&mut self) -> Result<Vec<Operand>, String> {
        let mut arguments = Vec::new();
        loop {
            arguments.push(self.any_of()?);
            match self.take(&[",", ")"]) {
                Some(",") => {}
                Some(_) => return Ok(arguments),
                None => return Err("arguments do not end".into()),
            }
        }
    }

    fn call(&self, name: &str, mut arguments: Vec<Operand>) -> Parsed {
        match (name, arguments.len()) {
            ("FILL", 2) => match (arguments.remove(0), &arguments[0]) {
                (Operand::Series(series), Operand::Scalar(with)) => {
                    Ok(Operand::Series(series.into_iter().map(|p| p.or(Some(*with))).collect()))
                }
                _ => Err("FILL wants a series and a number".into()),
            },
            ("IF", 2 | 3) => {
                let otherwise = if arguments.len() == 3 { arguments.pop() } else { None };
                let [condition, then] = <[Operand; 2]>::try_from(arguments).map_err(|_| "IF")?;
                Ok(choose(condition, then, otherwise))
            }
            ("PERIOD", 1) => Ok(Operand::Scalar(self.period)),
            _ => Err(format!("{name} with {} arguments is not known", arguments.len())),
        }
    }
}

/// Point by point. Without an alternative there is a gap where the condition does not hold.
fn choose(condition: Operand, then: Operand, otherwise: Option<Operand>) -> Operand {
    let length = condition.length().max(then.length()).max(otherwise.as_ref().map_or(1, Operand::length));
    let otherwise = otherwise.map_or_else(|| vec![None; length], |o| o.series(length));
    let points = condition.series(length).into_iter().zip(then.series(length)).zip(otherwise);
    Operand::Series(points.map(|((c, t), o)| if c? != 0.0 { t } else { o }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(expression: &str, metrics: &[(&str, &[Option<f64>])]) -> Result<Series, String> {
        let metrics = metrics.iter().map(|(name, s)| ((*name).to_owned(), s.to_vec())).collect();
        evaluate(expression, &metrics, 60.0)
    }

    #[test]
    fn gaps_stay_gaps_until_they_are_filled() {
        let m: &[Option<f64>] = &[Some(4.0), None];
        assert_eq!(one("m * 2 + 1", &[("m", m)]), Ok(vec![Some(9.0), None]));
        assert_eq!(one("FILL(m, 0) / 2", &[("m", m)]), Ok(vec![Some(2.0), Some(0.0)]));
        assert_eq!(one("1 / m", &[("m", &[Some(0.0)])]), Ok(vec![None]));
        assert_eq!(one("m / PERIOD(m)", &[("m", &[Some(120.0)])]), Ok(vec![Some(2.0)]));
    }

    #[test]
    fn and_binds_tighter_than_or_and_comparisons_tighter_than_both() {
        let m: &[Option<f64>] = &[Some(0.0), Some(5.0)];
        assert_eq!(one("IF(m > 0 AND m < 9 OR m == 7, 1, 0)", &[("m", m)]), Ok(vec![Some(0.0), Some(1.0)]));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for wrong in ["m +", "(m", "m n", "NOPE(m)", "FILL(m)", "x", "m # 2", "IF(m > 1, 2"] {
            assert!(one(wrong, &[("m", &[Some(1.0)])]).is_err(), "{wrong}");
        }
    }
}
