//! Which nodes are secret, and which have a secret below.

use crate::node::{Body, Id, Node, Nodes, Others};

impl Nodes {
    /// Marks what is a secret, and what has one in it or below.
    pub(crate) fn hush(&mut self) {
        for node in &mut self.all {
            node.secret = node.notes.secret;
        }
        self.spread(
            |node| node.secret,
            |node| node.secret = true,
            |node| matches!(node.body, Body::Same(_) | Body::Union(_)),
        );
        for node in &mut self.all {
            node.hushed = node.secret;
        }
        self.spread(|node| node.hushed, |node| node.hushed = true, |_| true);
    }

    /// Marks all nodes that `may` be marked and that have a marked one directly below, until none is left.
    fn spread(&mut self, marked: fn(&Node) -> bool, mark: fn(&mut Node), may: fn(&Node) -> bool) {
        loop {
            let found: Vec<Id> = (0..self.all.len())
                .filter(|id| !marked(self.node(*id)) && may(self.node(*id)))
                .filter(|id| self.below(*id).into_iter().any(|id| marked(self.node(id))))
                .collect();
            if found.is_empty() {
                break;
            }
            for id in found {
                if let Some(node) = self.all.get_mut(id) {
                    mark(node);
                }
            }
        }
    }

    /// All nodes directly below.
    fn below(&self, id: Id) -> Vec<Id> {
        match &self.node(id).body {
            Body::Any | Body::Never => Vec::new(),
            Body::Same(id) => vec![*id],
            Body::Union(variants) => variants.clone(),
            Body::Plain(plain) => {
                let object = &plain.object;
                let mut all = plain.list.first.clone();
                all.extend(plain.list.rest);
                all.extend(object.properties.iter().map(|property| property.node));
                all.extend(object.patterns.iter().map(|(_, node)| *node));
                if let Others::Each(node) = object.others {
                    all.push(node);
                }
                all
            }
        }
    }
}
