//! Filling in `@NAME@` in a configuration file.

/// Every placeholder must be given and used: a template and its code cannot drift apart unseen.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        let placeholder = format!("@{name}@");
        assert!(
            text.contains(&placeholder),
            "the template has no {placeholder}"
        );
        text = text.replace(&placeholder, value);
    }
    text
}

/// The placeholders that are left.
#[cfg(test)]
pub(crate) fn unfilled(text: &str) -> Vec<&str> {
    let name =
        |word: &str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    text.split('@').filter(|word| name(word)).collect()
}
