//! Cuts JSON text at the borders of its values, without looking into them.

use bytes::Bytes;

/// Finds where the values of one level begin and end.
pub(super) struct Cursor<'a> {
    json: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(json: &'a Bytes) -> Self {
        Self { json, at: 0 }
    }

    fn peek(&mut self) -> Option<u8> {
        while matches!(self.json.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        let found = self.peek()? == byte;
        self.at += usize::from(found);
        found.then_some(())
    }

    /// Keys, with their quotes, and values of the object that begins here; `None` when there is none.
    pub(super) fn object(mut self) -> Option<Vec<(Bytes, Bytes)>> {
        let mut members = Vec::new();
        self.eat(b'{')?;
        if self.eat(b'}').is_some() {
            return Some(members);
        }
        loop {
            let key = self.value()?;
            self.eat(b':')?;
            members.push((key, self.value()?));
            if self.eat(b',').is_none() {
                return self.eat(b'}').map(|()| members);
            }
        }
    }

    /// Members of the array that begins here; `None` when there is none.
    pub(super) fn array(mut self) -> Option<Vec<Bytes>> {
        let mut members = Vec::new();
        self.eat(b'[')?;
        if self.eat(b']').is_some() {
            return Some(members);
        }
        loop {
            members.push(self.value()?);
            if self.eat(b',').is_none() {
                return self.eat(b']').map(|()| members);
            }
        }
    }

    /// The text of the next value.
    fn value(&mut self) -> Option<Bytes> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => self.string()?,
            b'{' | b'[' => self.nested()?,
            _ => {
                while !matches!(
                    self.json.get(self.at),
                    None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n')
                ) {
                    self.at += 1;
                }
            }
        }
        (self.at > start).then(|| self.json.slice(start..self.at))
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.json.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    fn nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.json.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}
