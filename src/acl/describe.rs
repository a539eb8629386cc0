//! The shortest list of rules that stock finds for a set of permitted commands.
//!
//! It starts from everything if later commands are permitted as well, else from nothing, and then goes by categories:
//! the one that is least wrong, most right among those, and more right than wrong. What is left is said command by
//! command. The order of single commands differs in stock from one start to the next; here it is by name, so that a
//! file changes only when a user does.

use super::commands::{self, Category, CommandId, CommandSet};
use super::selector::Permits;

/// `+@all`, `-@dangerous`, `+info`: one word a rule.
pub(super) fn describe(permits: &Permits) -> Vec<Vec<u8>> {
    let (first, sign) = if permits.later_commands { ("+@all", '-') } else { ("-@all", '+') };
    let mut rules = vec![first.as_bytes().to_vec()];
    let mut described = if permits.later_commands { CommandSet::ALL } else { CommandSet::default() };
    // What is to be said about every command: that it is not permitted, or that it is.
    let mut open = described.difference(permits.commands);
    let mut unused: Vec<Category> = commands::categories().collect();
    while let Some(best) = best_of(&unused, open) {
        unused.retain(|category| *category != best);
        rules.push(format!("{sign}@{}", best.name()).into_bytes());
        open = open.without(best.reach());
        described = described.set(best.reach(), !permits.later_commands);
    }
    for id in commands::all() {
        single(permits, id, &mut described, &mut rules);
    }
    rules
}

fn best_of(unused: &[Category], open: CommandSet) -> Option<Category> {
    let scored = unused.iter().enumerate().filter_map(|(at, category)| {
        let members = category.members();
        let right = members.common(open);
        let wrong = members.common(CommandSet::ALL.without(open));
        (right > wrong).then_some(((wrong, u32::MAX - right, at), *category))
    });
    scored.min_by_key(|(score, _)| *score).map(|(_, category)| category)
}

fn single(permits: &Permits, id: CommandId, described: &mut CommandSet, rules: &mut Vec<Vec<u8>>) {
    let permitted = permits.commands.has(id);
    if permitted != described.has(id) {
        let sign = if permitted { '+' } else { '-' };
        rules.push(format!("{sign}{}", id.name()).into_bytes());
        *described = described.set(id.family(), permitted);
    }
    if !permitted {
        let words = permits.first_words.get(&id).into_iter().flatten();
        rules.extend(words.map(|word| [b"+", id.name().as_bytes(), b"|", word.as_slice()].concat()));
    }
}
