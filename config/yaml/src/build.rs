//! From the events of the parser to one document.

use std::{collections::BTreeMap, mem, sync::Arc};

use saphyr_parser::{Event, ScalarStyle, Tag};
use serde_yaml::Value;

use crate::{
    Place, YamlError, YamlErrorKind,
    error::Errors,
    place::Branch,
    scalar::{self, KnownTag},
    tree::{Entries, Item, Tree},
};

/// How deep lists and mappings nest in a document, aliases expanded. Every reader of a value recurses into it.
pub const MAX_DEPTH: usize = 64;

/// How many values the aliases of one document copy. A long text counts as one more for every 64 bytes.
pub const MAX_COPIES: usize = 100_000;

/// One document while it is read.
pub(crate) struct Builder {
    document: usize,
    /// The collections that the parser is inside of, outermost first.
    frames: Vec<Frame>,
    /// The anchors of this document by the parser's numbers.
    anchors: BTreeMap<usize, Anchor>,
    /// The finished document.
    root: Option<Tree>,
    errors: Errors,
    /// How many more values aliases may copy.
    copies: usize,
    /// How many collections the parser is inside of that are deeper than allowed.
    too_deep: usize,
    reported_depth: bool,
    reported_copies: bool,
}

struct Frame {
    open: Open,
    place: Place,
    /// The parser's number of its anchor; 0 if it has none.
    anchor: usize,
    size: Size,
}

enum Open {
    Items(Vec<Item>),
    Keys {
        entries: Entries,
        slot: Slot,
        /// Where `<<` stands.
        merge_key: Option<Place>,
    },
}

/// What comes next in a mapping.
enum Slot {
    Key,
    Value {
        /// `None` for a key that is no text.
        key: Option<String>,
        place: Place,
        fate: Fate,
    },
}

/// What becomes of the value of a key.
enum Fate {
    Insert,
    Merge,
    /// The key is wrong.
    Drop,
}

enum Anchor {
    /// The parser is still inside of it.
    Open,
    Closed {
        tree: Arc<Tree>,
        size: Size,
        /// As written, if it is a scalar: it may be used as a key.
        text: Option<Box<str>>,
    },
}

/// How large a node is with its aliases expanded.
#[derive(Clone, Copy)]
struct Size {
    copies: usize,
    depth: usize,
}

impl Size {
    fn scalar(text: &str) -> Self {
        Self {
            copies: 1 + text.len() / 64,
            depth: 0,
        }
    }

    fn contains(&mut self, inner: Self) {
        self.copies = self.copies.saturating_add(inner.copies);
        self.depth = self.depth.max(inner.depth + 1);
    }
}

impl Builder {
    /// `copies`: how many values aliases may copy.
    pub(crate) fn new(document: usize, copies: usize) -> Self {
        Self {
            document,
            frames: Vec::new(),
            anchors: BTreeMap::new(),
            root: None,
            errors: Errors::default(),
            copies,
            too_deep: 0,
            reported_depth: false,
            reported_copies: false,
        }
    }

    /// Whether it has seen nothing yet.
    pub(crate) fn is_new(&self) -> bool {
        self.frames.is_empty() && self.root.is_none() && self.too_deep == 0
    }

    /// How many more values aliases may copy.
    pub(crate) fn copies_left(&self) -> usize {
        self.copies
    }

    /// The finished document.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(crate) fn finish(self) -> Result<(Value, Branch), Vec<YamlError>> {
        if !self.errors.is_empty() {
            return Err(self.errors.finish(self.document, None));
        }
        // What has but one owner is moved, not copied.
        drop(self.anchors);
        Ok(self.root.map_or((Value::Null, Branch::Leaf), Tree::expand))
    }

    /// All that is wrong with a document that the parser cannot read to its end.
    pub(crate) fn fail(self, place: Place, message: &str) -> Vec<YamlError> {
        let error = YamlError {
            document: self.document,
            place: Some(place),
            path: path(&self.frames),
            kind: YamlErrorKind::syntax(message),
        };
        self.errors.finish(self.document, Some(error))
    }

    pub(crate) fn event(&mut self, event: Event<'_>, place: Place) {
        if self.too_deep > 0 {
            match event {
                Event::SequenceStart(..) | Event::MappingStart(..) => self.too_deep += 1,
                Event::SequenceEnd | Event::MappingEnd => {
                    self.too_deep -= 1;
                    if self.too_deep == 0 {
                        self.deliver_nothing(place);
                    }
                }
                _ => {}
            }
            return;
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = self.tag(tag.as_deref(), place);
                if self.at_key() {
                    self.scalar_key(&text, style, anchor, tag, place);
                } else {
                    let value = self.scalar(&text, style, tag, place);
                    let size = Size::scalar(&text);
                    let tree = self.anchored(Tree::Scalar(value), size, anchor, Some(&text));
                    self.deliver(tree, size, place);
                }
            }
            Event::Alias(anchor) => self.alias(anchor, place),
            Event::SequenceStart(anchor, tag) => {
                let tag = self.tag(tag.as_deref(), place);
                self.start(Open::Items(Vec::new()), anchor, tag, place);
            }
            Event::MappingStart(anchor, tag) => {
                let tag = self.tag(tag.as_deref(), place);
                let open = Open::Keys {
                    entries: Entries::default(),
                    slot: Slot::Key,
                    merge_key: None,
                };
                self.start(open, anchor, tag, place);
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
    }

    /// Whether the next node is an item of a list.
    pub(crate) fn at_item(&self) -> bool {
        let frame = self.frames.last();
        self.too_deep == 0 && frame.is_some_and(|frame| matches!(frame.open, Open::Items(_)))
    }

    /// Whether the next node is a key.
    pub(crate) fn at_key(&self) -> bool {
        let frame = self.frames.last();
        self.too_deep == 0
            && frame.is_some_and(|frame| {
                matches!(
                    frame.open,
                    Open::Keys {
                        slot: Slot::Key,
                        ..
                    }
                )
            })
    }

    fn error(&mut self, place: Place, kind: YamlErrorKind) {
        let frames = &self.frames;
        self.errors
            .push(self.document, place, || path(frames), kind);
    }

    fn tag(&mut self, tag: Option<&Tag>, place: Place) -> Option<KnownTag> {
        match KnownTag::new(tag?) {
            Ok(tag) => Some(tag),
            Err(kind) => {
                self.error(place, kind);
                None
            }
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<KnownTag>,
        place: Place,
    ) -> Value {
        scalar::value(text, style, tag).unwrap_or_else(|kind| {
            self.error(place, kind);
            Value::Null
        })
    }

    fn scalar_key(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<KnownTag>,
        place: Place,
    ) {
        let plain = style == ScalarStyle::Plain;
        let merge = text == "<<"
            && match tag {
                None => plain,
                Some(tag) => tag == KnownTag::Merge,
            };
        if merge {
            self.anchored(
                Tree::Scalar(Value::String(text.to_owned())),
                Size::scalar(text),
                anchor,
                Some(text),
            );
            self.key(text, place, Fate::Merge);
            return;
        }
        if tag.is_some() || anchor > 0 {
            let value = self.scalar(text, style, tag, place);
            self.anchored(Tree::Scalar(value), Size::scalar(text), anchor, Some(text));
        }
        self.key(text, place, Fate::Insert);
    }

    /// A key of the mapping that the parser is in; `fate` if it is not there twice.
    fn key(&mut self, text: &str, place: Place, fate: Fate) {
        let Some(Frame {
            open:
                Open::Keys {
                    entries,
                    slot,
                    merge_key,
                },
            size,
            ..
        }) = self.frames.last_mut()
        else {
            return;
        };
        size.copies = size.copies.saturating_add(text.len() / 64);
        let first = match fate {
            Fate::Merge => {
                let first = *merge_key;
                merge_key.get_or_insert(place);
                first
            }
            _ => entries.own(text),
        };
        *slot = Slot::Value {
            key: Some(text.to_owned()),
            place,
            fate: if first.is_some() { Fate::Drop } else { fate },
        };
        if let Some(first) = first {
            let kind = YamlErrorKind::DuplicateKey {
                key: text.to_owned(),
                first,
                second: place,
            };
            self.error(place, kind);
        }
    }

    fn alias(&mut self, anchor: usize, place: Place) {
        let depth = self.frames.len();
        let (tree, size, text) = match self.anchors.get(&anchor) {
            Some(Anchor::Closed { tree, size, text }) => (tree.clone(), *size, text.clone()),
            Some(Anchor::Open) => {
                self.error(place, YamlErrorKind::EndlessAlias);
                return self.deliver_nothing(place);
            }
            // Its anchor may be in what was too deep to read.
            None if self.reported_depth => return self.deliver_nothing(place),
            None => {
                self.error(place, YamlErrorKind::UnknownAnchor);
                return self.deliver_nothing(place);
            }
        };
        if depth + size.depth > MAX_DEPTH {
            self.report_depth(place);
            return self.deliver_nothing(place);
        }
        let Some(left) = self.copies.checked_sub(size.copies) else {
            if !mem::replace(&mut self.reported_copies, true) {
                self.error(place, YamlErrorKind::AliasBomb);
            }
            return self.deliver_nothing(place);
        };
        self.copies = left;
        if !self.at_key() {
            return self.deliver(Tree::Shared(tree), size, place);
        }
        match (text, &*tree) {
            (Some(text), _) => self.key(&text, place, Fate::Insert),
            (None, tree) => {
                let kind = match tree {
                    Tree::Items(_) => "a list",
                    _ => "a mapping",
                };
                self.error(place, YamlErrorKind::KeyIsNoText(kind));
                self.deliver_nothing(place);
            }
        }
    }

    fn report_depth(&mut self, place: Place) {
        if !mem::replace(&mut self.reported_depth, true) {
            self.error(place, YamlErrorKind::TooDeep);
        }
    }

    fn start(&mut self, open: Open, anchor: usize, tag: Option<KnownTag>, place: Place) {
        let (kind, fits) = match open {
            Open::Items(_) => ("a list", KnownTag::Seq),
            Open::Keys { .. } => ("a mapping", KnownTag::Map),
        };
        if let Some(tag) = tag.filter(|tag| *tag != fits) {
            self.error(place, tag.wrong());
        }
        if self.at_key() {
            self.error(place, YamlErrorKind::KeyIsNoText(kind));
        }
        if self.frames.len() >= MAX_DEPTH {
            self.report_depth(place);
            self.too_deep = 1;
            return;
        }
        if anchor > 0 {
            self.anchors.insert(anchor, Anchor::Open);
        }
        self.frames.push(Frame {
            open,
            place,
            anchor,
            size: Size {
                copies: 1,
                depth: 1,
            },
        });
    }

    fn end(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        let tree = match frame.open {
            Open::Items(items) => Tree::Items(items),
            Open::Keys { entries, .. } => Tree::Keys(entries.close()),
        };
        let tree = self.anchored(tree, frame.size, frame.anchor, None);
        self.deliver(tree, frame.size, frame.place);
    }

    /// Remembers `tree` if it has an anchor.
    fn anchored(&mut self, tree: Tree, size: Size, anchor: usize, text: Option<&str>) -> Tree {
        if anchor == 0 {
            return tree;
        }
        let tree = Arc::new(tree);
        let closed = Anchor::Closed {
            tree: tree.clone(),
            size,
            text: text.map(Into::into),
        };
        self.anchors.insert(anchor, closed);
        Tree::Shared(tree)
    }

    /// Stands in for a node that is wrong, so that the reading goes on after it.
    fn deliver_nothing(&mut self, place: Place) {
        // A mapping, so that one mistake in what is to be merged is not reported as two.
        self.deliver(Tree::Keys(Vec::new()), Size::scalar(""), place);
    }

    /// A finished node goes where it belongs.
    fn deliver(&mut self, tree: Tree, inner: Size, place: Place) {
        let Some(Frame { open, size, .. }) = self.frames.last_mut() else {
            self.root = Some(tree);
            return;
        };
        let (entries, slot) = match open {
            Open::Items(items) => {
                size.contains(inner);
                items.push(Item { place, tree });
                return;
            }
            Open::Keys { entries, slot, .. } => (entries, slot),
        };
        let next = Slot::Value {
            key: None,
            place,
            fate: Fate::Drop,
        };
        let (key, key_place, fate) = match mem::replace(slot, Slot::Key) {
            // A key that is no text: its value comes next, and nothing can hold it.
            Slot::Key => {
                *slot = next;
                return;
            }
            Slot::Value { key, place, fate } => (key, place, fate),
        };
        match (key, fate) {
            (Some(key), Fate::Insert) => {
                size.contains(inner);
                entries.insert(key, key_place, tree);
            }
            (_, Fate::Merge) => {
                size.copies = size.copies.saturating_add(inner.copies);
                let levels = matches!(tree, Tree::Items(_));
                size.depth = size
                    .depth
                    .max(inner.depth.saturating_sub(usize::from(levels)));
                if let Err(kind) = entries.merge(tree) {
                    let mut path = path(&self.frames);
                    path.push("<<".to_owned());
                    self.errors.push(self.document, place, || path, kind);
                }
            }
            _ => {}
        }
    }
}

/// The keys and indices that lead to what the parser is at.
fn path(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .filter_map(|frame| match &frame.open {
            Open::Items(items) => Some(items.len().to_string()),
            Open::Keys {
                slot: Slot::Value { key, .. },
                ..
            } => key.clone(),
            Open::Keys {
                slot: Slot::Key, ..
            } => None,
        })
        .collect()
}
