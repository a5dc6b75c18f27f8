//! Characters to tree: one lexer pass, then recursive descent with a depth limit.

use super::{ExpressionError, Function, MAX_DEPTH, MAX_LENGTH, Name, Node, Operator, Relation};

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Word(String),
    Symbol(char),
    Relation(Relation),
}

impl Token {
    fn describe(&self) -> String {
        match self {
            Self::Number(number) => format!("the number `{number}`"),
            Self::Word(word) => format!("`{word}`"),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::Relation(relation) => format!("`{}`", relation.symbol()),
        }
    }
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    end: usize,
}

pub(super) fn formula(source: &str) -> Result<Node, ExpressionError> {
    let mut parser = Parser::new(source)?;
    let root = parser.sum()?;
    match parser.peek() {
        None => Ok(root),
        Some(Token::Relation(_)) => {
            Err(parser.error("a comparison is not allowed here; put it under `constraints`"))
        }
        Some(token) => {
            let problem = format!(
                "unexpected {}; an operator such as `+` or the end was expected",
                token.describe()
            );
            Err(parser.error(problem))
        }
    }
}

pub(super) fn constraint(source: &str) -> Result<(Node, Relation, Node), ExpressionError> {
    let mut parser = Parser::new(source)?;
    let left = parser.sum()?;
    let relation =
        match parser.peek() {
            Some(Token::Relation(relation)) => *relation,
            Some(token) => {
                let problem = format!(
                    "unexpected {}; a constraint compares two sides with `<=`, `<`, `>=` or `>`",
                    token.describe()
                );
                return Err(parser.error(problem));
            }
            None => return Err(parser.error(
                "a constraint compares two sides with `<=`, `<`, `>=` or `>`, as in `p99 <= 250`",
            )),
        };
    parser.next += 1;
    let right = parser.sum()?;
    match parser.peek() {
        None => Ok((left, relation, right)),
        Some(Token::Relation(_)) => {
            Err(parser.error("only one comparison for each constraint; write two constraints"))
        }
        Some(token) => {
            let problem = format!(
                "unexpected {}; an operator such as `+` or the end was expected",
                token.describe()
            );
            Err(parser.error(problem))
        }
    }
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Result<Self, ExpressionError> {
        let fail = |column: usize, problem: String| ExpressionError {
            source_text: shortened(source),
            column,
            problem,
        };
        if source.len() > MAX_LENGTH {
            return Err(fail(
                1,
                format!(
                    "{} bytes long; at most {MAX_LENGTH} are accepted",
                    source.len()
                ),
            ));
        }
        let tokens = tokens(source).map_err(|(column, problem)| fail(column, problem))?;
        if tokens.is_empty() {
            return Err(fail(
                1,
                "empty; an expression such as `p99` was expected".to_owned(),
            ));
        }
        Ok(Self {
            source,
            tokens,
            next: 0,
            depth: 0,
            end: source.trim_end().chars().count() + 1,
        })
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn column(&self) -> usize {
        self.tokens
            .get(self.next)
            .map_or(self.end, |(column, _)| *column)
    }

    fn error(&self, problem: impl Into<String>) -> ExpressionError {
        ExpressionError {
            source_text: self.source.to_owned(),
            column: self.column(),
            problem: problem.into(),
        }
    }

    fn take_symbol(&mut self, among: &[char]) -> Option<char> {
        match self.peek() {
            Some(Token::Symbol(symbol)) if among.contains(symbol) => {
                let symbol = *symbol;
                self.next += 1;
                Some(symbol)
            }
            _ => None,
        }
    }

    fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, ExpressionError>,
    ) -> Result<T, ExpressionError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn sum(&mut self) -> Result<Node, ExpressionError> {
        let mut left = self.product()?;
        let mut links = 0;
        while let Some(symbol) = self.take_symbol(&['+', '-']) {
            // A long chain is a deep tree on its left side; evaluation walks it.
            links += 1;
            if links > 16 * MAX_DEPTH {
                return Err(self.error("too many terms"));
            }
            let operator = if symbol == '+' {
                Operator::Add
            } else {
                Operator::Subtract
            };
            let right = self.product()?;
            left = Node::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Node, ExpressionError> {
        let mut left = self.signed()?;
        let mut links = 0;
        while let Some(symbol) = self.take_symbol(&['*', '/']) {
            links += 1;
            if links > 16 * MAX_DEPTH {
                return Err(self.error("too many factors"));
            }
            let operator = if symbol == '*' {
                Operator::Multiply
            } else {
                Operator::Divide
            };
            let right = self.signed()?;
            left = Node::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Node, ExpressionError> {
        match self.take_symbol(&['-', '+']) {
            Some('-') => self.deeper(|parser| Ok(Node::Negate(Box::new(parser.signed()?)))),
            Some(_) => self.deeper(Self::signed),
            None => self.power(),
        }
    }

    fn power(&mut self) -> Result<Node, ExpressionError> {
        let base = self.atom()?;
        if self.take_symbol(&['^']).is_some() {
            let exponent = self.deeper(Self::signed)?;
            return Ok(Node::Binary(
                Operator::Power,
                Box::new(base),
                Box::new(exponent),
            ));
        }
        Ok(base)
    }

    fn atom(&mut self) -> Result<Node, ExpressionError> {
        let column = self.column();
        match self.peek().cloned() {
            Some(Token::Number(number)) => {
                self.next += 1;
                Ok(Node::Number(number))
            }
            Some(Token::Word(word)) => {
                self.next += 1;
                self.word(word, column)
            }
            Some(Token::Symbol('(')) => {
                self.next += 1;
                let inner = self.deeper(Self::sum)?;
                if self.take_symbol(&[')']).is_none() {
                    return Err(self.error(format!("the `(` of column {column} is not closed")));
                }
                Ok(inner)
            }
            Some(token) => Err(self.error(format!(
                "unexpected {}; a number, a name or `(` was expected",
                token.describe()
            ))),
            None => Err(self.error("ends too early; a number, a name or `(` was expected")),
        }
    }

    fn word(&mut self, word: String, column: usize) -> Result<Node, ExpressionError> {
        if let Some(Token::Symbol('(')) = self.peek() {
            return self.call(&word, column);
        }
        let mut pieces = vec![word];
        while self.take_symbol(&['.']).is_some() {
            match self.peek().cloned() {
                Some(Token::Word(piece)) => {
                    self.next += 1;
                    pieces.push(piece);
                }
                _ => return Err(self.error("a name was expected after `.`")),
            }
        }
        Ok(Node::Name(Name { pieces, column }))
    }

    fn call(&mut self, word: &str, column: usize) -> Result<Node, ExpressionError> {
        let known: Vec<&str> = Function::ALL.iter().map(|(name, _)| *name).collect();
        let Some(function) = Function::ALL
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, function)| *function)
        else {
            let nearest = super::bind::nearest(word, known.iter().copied())
                .map_or(String::new(), |name| format!("; did you mean `{name}`?"));
            return Err(ExpressionError {
                source_text: self.source.to_owned(),
                column,
                problem: format!(
                    "unknown function `{word}`{nearest} (known: {})",
                    known.join(", ")
                ),
            });
        };
        self.next += 1;
        let mut arguments = Vec::new();
        if self.take_symbol(&[')']).is_none() {
            loop {
                arguments.push(self.deeper(Self::sum)?);
                match self.take_symbol(&[',', ')']) {
                    Some(',') => {}
                    Some(_) => break,
                    None => {
                        return Err(self.error(format!(
                            "the `(` of `{word}` at column {column} is not closed"
                        )));
                    }
                }
            }
        }
        if !function.accepts(arguments.len()) {
            let wanted = if matches!(function, Function::Min | Function::Max) {
                "two or more values"
            } else {
                "exactly one value"
            };
            return Err(ExpressionError {
                source_text: self.source.to_owned(),
                column,
                problem: format!("`{word}` takes {wanted}, not {}", arguments.len()),
            });
        }
        Ok(Node::Call(function, arguments))
    }
}

fn shortened(source: &str) -> String {
    if source.chars().count() <= 120 {
        return source.to_owned();
    }
    source.chars().take(117).chain("...".chars()).collect()
}

fn tokens(source: &str) -> Result<Vec<(usize, Token)>, (usize, String)> {
    let characters: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    let get = |index: usize| characters.get(index).copied();
    while let Some(character) = get(at) {
        let column = at + 1;
        match character {
            _ if character.is_whitespace() => at += 1,
            '0'..='9' => {
                let end = number_end(&characters, at);
                let text: String = characters.iter().skip(at).take(end - at).collect();
                let number: f64 = text
                    .parse()
                    .map_err(|_| (column, format!("`{text}` is not a number")))?;
                if !number.is_finite() {
                    return Err((column, format!("`{text}` is too large")));
                }
                // `12ms` would otherwise read as a number followed by a name and complain about a missing operator.
                if get(end).is_some_and(|next| next.is_alphanumeric() || next == '_') {
                    return Err((
                        column,
                        format!(
                            "`{text}` is followed by a letter; numbers take no unit, and a name starts with a letter"
                        ),
                    ));
                }
                tokens.push((column, Token::Number(number)));
                at = end;
            }
            '.' if get(at + 1).is_some_and(|next| next.is_ascii_digit())
                && !follows_name(&tokens) =>
            {
                return Err((
                    column,
                    "a number starts with a digit: write `0.5`, not `.5`".to_owned(),
                ));
            }
            '`' => {
                let length = characters.iter().skip(at + 1).position(|c| *c == '`');
                let Some(length) = length else {
                    return Err((column, "the backtick is not closed".to_owned()));
                };
                if length == 0 {
                    return Err((
                        column,
                        "nothing between the backticks; a name was expected".to_owned(),
                    ));
                }
                tokens.push((
                    column,
                    Token::Word(characters.iter().skip(at + 1).take(length).collect()),
                ));
                at += length + 2;
            }
            _ if character.is_alphabetic() || character == '_' => {
                let length = characters
                    .iter()
                    .skip(at)
                    .take_while(|c| c.is_alphanumeric() || **c == '_')
                    .count();
                tokens.push((
                    column,
                    Token::Word(characters.iter().skip(at).take(length).collect()),
                ));
                at += length;
            }
            '<' | '>' => {
                let or_equal = get(at + 1) == Some('=');
                let relation = match (character, or_equal) {
                    ('<', true) => Relation::AtMost,
                    ('<', false) => Relation::Below,
                    (_, true) => Relation::AtLeast,
                    (_, false) => Relation::Above,
                };
                tokens.push((column, Token::Relation(relation)));
                at += 1 + usize::from(or_equal);
            }
            '+' | '-' | '*' | '/' | '^' | '(' | ')' | ',' | '.' => {
                if character == '*' && get(at + 1) == Some('*') {
                    return Err((column, "`**` is written `^` here".to_owned()));
                }
                tokens.push((column, Token::Symbol(character)));
                at += 1;
            }
            '=' => return Err((
                column,
                "equality is not a constraint that noisy measurements can meet; use `<=` or `>=`"
                    .to_owned(),
            )),
            '%' => {
                return Err((
                    column,
                    "`%` is not an operator; write `1.05 * ...` for five per cent more".to_owned(),
                ));
            }
            other => return Err((column, format!("unexpected character {other:?}"))),
        }
    }
    Ok(tokens)
}

/// In `web.2xx` the piece after the dot is no number; it has to be quoted, and that message comes from the parser.
fn follows_name(tokens: &[(usize, Token)]) -> bool {
    matches!(tokens.last(), Some((_, Token::Word(_))))
}

fn number_end(characters: &[char], start: usize) -> usize {
    let digits = |from: usize| {
        from + characters
            .iter()
            .skip(from)
            .take_while(|c| c.is_ascii_digit())
            .count()
    };
    let mut end = digits(start);
    if characters.get(end) == Some(&'.') {
        end = digits(end + 1);
    }
    if matches!(characters.get(end), Some('e' | 'E')) {
        let sign = usize::from(matches!(characters.get(end + 1), Some('+' | '-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}
