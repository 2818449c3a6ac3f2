//! Just enough of XML to tell a well-formed picture from a broken one.

/// The elements of a document in the order they begin, or what is wrong with it.
pub fn elements(document: &str) -> Result<Vec<String>, String> {
    let (mut open, mut found) = (Vec::new(), Vec::new());
    let mut rest = document;
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start])?;
        let end = rest.find('>').ok_or("a tag without an end")?;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with(['?', '!']) {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop().as_deref() != Some(name.trim()) {
                return Err(format!("</{name}> closes nothing"));
            }
            continue;
        }
        let (body, empty) = tag.strip_suffix('/').map_or((tag, false), |body| (body, true));
        let (name, attributes) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
        check_attributes(attributes)?;
        found.push(name.to_owned());
        if !empty {
            open.push(name.to_owned());
        }
    }
    check_text(rest)?;
    if open.is_empty() { Ok(found) } else { Err(format!("{open:?} stay open")) }
}

fn check_attributes(attributes: &str) -> Result<(), String> {
    let parts: Vec<&str> = attributes.split('"').collect();
    let (values, names): (Vec<_>, Vec<_>) = parts.iter().enumerate().partition(|(index, _)| index % 2 == 1);
    let (last, names) = names.split_last().ok_or("no attributes")?;
    if parts.len().is_multiple_of(2) || !last.1.trim().is_empty() {
        return Err(format!("quotes are missing: {attributes}"));
    }
    if let Some((_, name)) = names.iter().find(|(_, name)| !name.ends_with('=') || name.trim().len() < 2) {
        return Err(format!("no attribute: {name}"));
    }
    values.into_iter().try_for_each(|(_, value)| check_text(value))
}

/// That every ampersand begins an entity, and no number was printed as what it is not.
fn check_text(text: &str) -> Result<(), String> {
    for part in text.split('&').skip(1) {
        let entity = part.split(';').next().unwrap_or_default();
        let known = ["amp", "lt", "gt", "quot", "apos"].contains(&entity) || entity.starts_with('#');
        if !known || !part.contains(';') {
            return Err(format!("a bare ampersand: {text}"));
        }
    }
    if text.contains("NaN") || text.split([' ', ',']).any(|word| word == "inf") {
        return Err(format!("not a number: {text}"));
    }
    Ok(())
}
