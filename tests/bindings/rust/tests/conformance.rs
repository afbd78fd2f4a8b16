// SPDX-License-Identifier: MIT
//! The list of tests/bindings/README.md. They stop one Redis, so they run one after the other (--test-threads=1).
use bindings::*;
use latchkey::aio::Aio;
use latchkey::{check_config, user_id, Access, Draft, Kind, Latchkey, Level, Rotated};
use std::time::{Duration, SystemTime};

const ZERO: Duration = Duration::ZERO;
const MINUTE: Duration = Duration::from_secs(60);

fn damaged(token: &str) -> String {
    format!("{}{}{}", &token[..30], if &token[30..31] == "A" { "B" } else { "A" }, &token[31..])
}

fn is_send_and_sync<T: Send + Sync>() {}

#[test]
fn create_gives_back_what_was_given() {
    is_send_and_sync::<Latchkey>();
    is_send_and_sync::<Aio>();
    let lk = handle();
    let mut draft = Draft { role: "sixteen bytes ok".into(), device: u32::MAX - 1, flags: 0x8001, ..Draft::of(u64::MAX - 2) };
    for (i, byte) in draft.permissions_hash.iter_mut().enumerate() {
        *byte = 200 + i as u8;
    }
    let token = lk.create(&draft).unwrap();
    assert_eq!(token.len(), 43);
    let entry = lk.validate(&token).unwrap().unwrap();
    assert_eq!(
        (entry.user_id(), &*entry.role(), entry.device(), entry.flags()),
        (draft.user_id, &*draft.role, draft.device, draft.flags)
    );
    assert_eq!((entry.permissions_hash(), entry.pq_key_hash()), (&draft.permissions_hash, &[0; 32]));
    assert!(entry.created_at() > SystemTime::now() - MINUTE && entry.auth_at() == entry.created_at());
    assert_eq!(entry.expires_at().duration_since(entry.created_at()).unwrap(), Duration::from_secs(43200));
    let named = lk.create(&Draft::named("c0ffee")).unwrap();
    assert_eq!(lk.validate(named).unwrap().unwrap().user_id(), user_id("c0ffee"));
    let early = lk.token_new(7).unwrap();
    let given = Draft { token: Some(early.clone()), ..Draft::of(7) };
    assert_eq!(lk.create(&given).unwrap(), early);
    assert_eq!(lk.create(&given).unwrap_err().kind(), Kind::Refused);
    block_on(async {
        let lk = lk.aio().unwrap();
        let token = lk.create(&draft).await.unwrap();
        assert_eq!(lk.validate(&token).await.unwrap().unwrap().role(), draft.role);
    });
    passed(1, "create");
}

#[test]
fn hit() {
    let lk = handle();
    let token = create(&lk, 2);
    let before = (metric(&lk, "latchkey_l1_hits_total"), metric(&lk, "latchkey_l2_reads_total"));
    for _ in 0..100 {
        assert_eq!(lk.validate(&token).unwrap().unwrap().user_id(), 2);
    }
    assert_eq!((metric(&lk, "latchkey_l1_hits_total"), metric(&lk, "latchkey_l2_reads_total")), (before.0 + 100, before.1));
    passed(2, "hit");
}

#[test]
fn miss() {
    let (lk, there, elsewhere) = (handle(), handle(), handle());
    let token = create(&lk, 3);
    let entry = lk.validate(&token).unwrap();
    assert!(there.try_validate(&token).is_none());
    assert_eq!(there.validate(&token).unwrap(), entry);
    assert_eq!(there.try_validate(&token).unwrap().unwrap(), entry);
    block_on(async {
        let aio = elsewhere.aio().unwrap();
        assert!(aio.try_validate(&token).is_none());
        assert_eq!(aio.validate(&token).await.unwrap(), entry);
        assert_eq!(aio.try_validate(&token).unwrap().unwrap(), entry);
        let reads = metric(&elsewhere, "latchkey_l2_reads_total");
        assert_eq!(aio.validate_fresh(&token, ZERO).await.unwrap(), entry);
        assert_eq!(metric(&elsewhere, "latchkey_l2_reads_total"), reads + 1);
    });
    passed(3, "miss");
}

#[test]
fn no() {
    let lk = handle();
    let token = create(&lk, 4);
    let wrong = [
        NEVER.to_owned(),
        damaged(&token),
        String::new(),
        token[..42].to_owned(),
        token.clone() + "A",
        format!("{}\0{}", &token[..20], &token[21..]),
        "ä".repeat(43),
        "x".repeat(100000),
    ];
    block_on(async {
        let aio = lk.aio().unwrap();
        for wrong in &wrong {
            assert_eq!(lk.validate(wrong).unwrap(), None);
            assert_eq!(lk.validate_fresh(wrong, ZERO).unwrap(), None);
            assert_eq!(aio.validate(wrong).await.unwrap(), None);
            assert_eq!(aio.validate_fresh(wrong, ZERO).await.unwrap(), None);
            assert!(lk.load(wrong).unwrap().is_none() && aio.load(wrong).await.unwrap().is_none());
            assert!(!lk.touch(wrong).unwrap() && !aio.touch(wrong).await.unwrap() && !aio.revoke(wrong).await.unwrap());
            assert!(!lk.revoke(wrong).unwrap());
        }
        assert_eq!(lk.validate(b"\xff\xfe\x00").unwrap(), None);
    });
    assert!(lk.validate(&token).unwrap().is_some());
    passed(4, "no");
}

#[test]
fn revoke() {
    let (lk, there) = (handle(), handle());
    let token = create(&lk, 5);
    assert!(there.validate(&token).unwrap().is_some());
    assert!(lk.revoke(&token).unwrap());
    assert_eq!(lk.validate(&token).unwrap(), None);
    assert!(!lk.revoke(&token).unwrap());
    passed(5, "revoke here");
    until("the session ended there", || there.validate(&token).unwrap().is_none());
    passed(6, "revoke there");
}

#[test]
fn refused() {
    let lk = handle();
    redis(&["config", "set", "maxmemory", "1"]);
    let answer = lk.create(&Draft::of(7));
    redis(&["config", "set", "maxmemory", "0"]);
    assert!(unavailable(answer));
    assert!(unavailable(Latchkey::open("unix:///nothing/is/here.sock")));
    let lazy = Latchkey::open("unix:///nothing/is/here.sock?lazy=1").unwrap();
    let token = lazy.token_new(7).unwrap();
    assert!(unavailable(lazy.validate(&token)));
    assert!(unavailable(block_on(async { lazy.aio().unwrap().validate(&token).await })));
    passed(7, "refused");
}

#[test]
fn late() {
    let (lk, short) = (handle(), open("deadline_ms=300"));
    let tokens: Vec<_> = (0..20).map(|i| create(&lk, 800 + i)).collect();
    block_on(async {
        let aio = short.aio().unwrap();
        let answers = stopped(|| {
            assert!(unavailable(short.validate(&tokens[0])));
            tokens
                .iter()
                .map(|token| {
                    let (aio, token) = (aio.clone(), token.clone());
                    tokio::spawn(async move { aio.validate(token).await })
                })
                .collect::<Vec<_>>()
        });
        // They are asked while Redis stands still, and some of them are answered after that.
        for answer in answers {
            let answer = answer.await.unwrap();
            assert!(answer.is_err() && unavailable(answer.clone()) || answer.unwrap().is_some());
        }
        let pid: i32 = env("LATCHKEY_REDIS_PID").parse().unwrap();
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        let fresh = aio.validate_fresh(&tokens[0], ZERO).await;
        let loaded = aio.load(&tokens[0]).await;
        unsafe { libc::kill(pid, libc::SIGCONT) };
        assert!(unavailable(fresh) && unavailable(loaded));
        recovered(&short);
        for (i, token) in tokens.iter().enumerate() {
            let entry = loop {
                match aio.validate_fresh(token, ZERO).await {
                    Ok(entry) => break entry.unwrap(),
                    Err(error) => assert!(error.is_unavailable()),
                }
            };
            assert_eq!(entry.user_id(), 800 + i as u64);
        }
    });
    passed(8, "late");
}

#[test]
fn pending() {
    let (lk, there) = (open("deadline_ms=300"), handle());
    let tokens = [create(&lk, 9), create(&lk, 9)];
    for token in &tokens {
        assert!(there.validate(token).unwrap().is_some());
    }
    stopped(|| {
        assert_eq!(lk.revoke(&tokens[0]).unwrap_err().kind(), Kind::Pending);
        block_on(async {
            let error = lk.aio().unwrap().revoke(&tokens[1]).await.unwrap_err();
            assert!(error.kind() == Kind::Pending && !error.is_unavailable());
        });
        for token in &tokens {
            assert_eq!(lk.validate(token).unwrap(), None);
        }
    });
    for token in &tokens {
        until("the session ended there", || matches!(there.validate(token), Ok(None)));
    }
    passed(9, "pending");
}

#[test]
fn fork() {
    let lk = handle();
    let token = create(&lk, 10);
    // SAFETY: the child calls the library alone, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let good = matches!(lk.validate(&token), Ok(Some(entry)) if entry.user_id() == 10)
            && matches!(lk.try_validate(&token), Some(Ok(Some(_))))
            && lk.create(&Draft::of(10)).is_ok();
        unsafe { libc::_exit(if good { 0 } else { 1 }) };
    }
    let mut status = 0;
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    assert!(lk.validate(&token).unwrap().is_some());
    assert!(lk.validate_fresh(&token, ZERO).unwrap().is_some());
    passed(10, "fork");
}

#[test]
fn close() {
    let (lk, there) = (handle(), handle());
    let tokens: Vec<_> = (0..50).map(|i| create(&lk, 1100 + i)).collect();
    block_on(async {
        let aio = there.aio().unwrap();
        let waiting: Vec<_> = tokens
            .iter()
            .map(|token| {
                let (aio, token) = (aio.clone(), token.clone());
                tokio::spawn(async move { aio.validate_fresh(token, ZERO).await })
            })
            .collect();
        let pid: i32 = env("LATCHKEY_REDIS_PID").parse().unwrap();
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        tokio::time::sleep(Duration::from_millis(50)).await;
        aio.close();
        for answer in waiting {
            let answer = answer.await.unwrap(); // while Redis still stands still
            assert_eq!(answer.unwrap_err().kind(), Kind::Closed);
        }
        unsafe { libc::kill(pid, libc::SIGCONT) };
        aio.close();
        assert_eq!(aio.validate(&tokens[0]).await.unwrap_err().kind(), Kind::Closed);
        assert_eq!(aio.create(&Draft::of(1)).await.unwrap_err().kind(), Kind::Closed);
    });
    // Its runtime has ended, and no task hands out answers any more.
    let orphan = block_on(async { there.aio().unwrap() });
    assert_eq!(block_on(orphan.validate_fresh(&tokens[0], ZERO)).unwrap_err().kind(), Kind::Closed);
    there.close();
    there.close();
    assert_eq!(there.validate(&tokens[0]).unwrap_err().kind(), Kind::Closed);
    assert_eq!(there.metrics().unwrap_err().kind(), Kind::Closed);
    assert_eq!(there.sessions(1, None).unwrap_err().kind(), Kind::Closed);
    recovered(&lk);
    passed(11, "close");
}

#[test]
fn rotation() {
    let lk = handle();
    let to = |rotated| match rotated {
        Some(Rotated::To(token)) => token,
        other => panic!("{other:?}"),
    };
    let first = create(&lk, 12);
    let second = to(lk.rotate(&first, ZERO).unwrap());
    assert_eq!(lk.validate(&first).unwrap(), None);
    block_on(async {
        let aio = lk.aio().unwrap();
        let third = to(aio.rotate(&second, MINUTE).await.unwrap());
        for token in [&second, &third] {
            assert_eq!(lk.validate(token).unwrap().unwrap().user_id(), 12);
        }
        assert_eq!(aio.rotate(&second, MINUTE).await.unwrap(), Some(Rotated::Already));
        assert_eq!(aio.rotate(NEVER, MINUTE).await.unwrap(), None);
    });
    assert_eq!(lk.rotate(&second, MINUTE).unwrap(), Some(Rotated::Already));
    assert_eq!(lk.rotate(NEVER, MINUTE).unwrap(), None);
    passed(12, "rotation");
}

#[test]
fn fields() {
    let lk = handle();
    let all: Vec<u8> = (0..=255).collect();
    let large = vec![7u8; 65536];
    let token = lk
        .create(&Draft { fields: vec![("app.bytes".into(), all.clone()), ("app.empty".into(), vec![])], ..Draft::of(14) })
        .unwrap();
    assert!(lk.set_fields(&token, &[("app.large", Some(&large)), ("app.more", Some(b"x"))]).unwrap());
    block_on(async {
        let aio = lk.aio().unwrap();
        let some = aio.get_fields(&token, &["app.bytes", "app.large", "app.none"]).await.unwrap().unwrap();
        assert_eq!((some.get("app.bytes"), some.get("app.large")), (Some(&all[..]), Some(&large[..])));
        assert_eq!((some.get("app.none"), some.get("app.more")), (None, None));
        assert!(aio.set_fields(&token, &[("app.more", None)]).await.unwrap());
        assert!(!aio.set_fields(NEVER, &[("app.more", None)]).await.unwrap());
    });
    let record = lk.load(&token).unwrap().unwrap();
    let mut names: Vec<_> = record.names().collect();
    names.sort_unstable();
    assert_eq!((record.entry.user_id(), names), (14, vec!["app.bytes", "app.empty", "app.large"]));
    passed(14, "fields");
}

#[test]
fn compare_and_set() {
    let lk = handle();
    let token = lk.create(&Draft { fields: vec![("count".into(), b"0".to_vec())], ..Draft::of(15) }).unwrap();
    let record = lk.get_fields(&token, &["count"]).unwrap().unwrap();
    assert_eq!(lk.change_fields(&token, &record, &[("count", Some(b"1"))]).unwrap(), Some(true));
    assert_eq!(lk.change_fields(&token, &record, &[("count", Some(b"9"))]).unwrap(), Some(false));
    block_on(async {
        let aio = lk.aio().unwrap();
        assert_eq!(aio.change_fields(&token, &record, &[("count", Some(b"9"))]).await.unwrap(), Some(false));
        assert_eq!(aio.change_fields(NEVER, &record, &[("count", Some(b"9"))]).await.unwrap(), None);
    });
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let more = |old: Option<&[u8]>| {
                    let n: u32 = std::str::from_utf8(old.unwrap()).unwrap().parse().unwrap();
                    Some((n + 1).to_string().into_bytes())
                };
                assert!(lk.update_field(&token, "count", more).unwrap());
            });
        }
    });
    assert_eq!(lk.load(&token).unwrap().unwrap().get("count"), Some(&b"9"[..]));
    passed(15, "compare-and-set");
}

#[test]
fn a_users_sessions() {
    let lk = handle();
    let user = (1 << 63) + 16;
    let tokens: Vec<_> = (0..4).map(|device| lk.create(&Draft { device, ..Draft::of(user) }).unwrap()).collect();
    let list = lk.sessions(user, Some(&tokens[2])).unwrap();
    assert_eq!(list.len(), 4);
    for each in list {
        assert_eq!((each.current, &*each.selector), (each.device == 2, &tokens[each.device as usize][..20]));
    }
    assert!(lk.revoke_selector(user, &tokens[0][..20]).unwrap());
    assert!(!lk.revoke_selector(user, &tokens[0][..20]).unwrap());
    assert_eq!(block_on(async { lk.aio().unwrap().revoke_user(user, Some(&tokens[2])).await.unwrap() }), 2);
    assert!(lk.validate(&tokens[2]).unwrap().is_some());
    let generation = lk.user_generation(user).unwrap();
    assert_eq!(lk.revoke_user(user, None).unwrap(), 1);
    assert_eq!(lk.create(&Draft { generation, ..Draft::of(user) }).unwrap_err().kind(), Kind::Refused);
    passed(16, "a user's sessions");
}

#[test]
fn touch_and_access() {
    let (lk, there) = (handle(), handle());
    let token = lk.create(&Draft { role: "member".into(), flags: 1, ..Draft::of(17) }).unwrap();
    assert!(there.validate(&token).unwrap().is_some());
    assert!(lk.touch(&token).unwrap() && !lk.touch(NEVER).unwrap());
    let role = |role: &str| Access { role: Some(role.into()), ..Access::default() };
    let change = Access { permissions_hash: Some([3; 32]), flags: Some((2, 3)), ..role("admin") };
    assert!(block_on(async { lk.aio().unwrap().set_access(&token, &change).await.unwrap() }));
    let entry = lk.validate(&token).unwrap().unwrap();
    assert_eq!((&*entry.role(), entry.flags(), entry.permissions_hash()), ("admin", 2, &[3; 32]));
    until("it shows there", || there.validate(&token).unwrap().unwrap().role() == "admin");
    assert_eq!(lk.set_user_access(17, &role("guest")).unwrap(), 1);
    passed(17, "touch and access");
}

#[test]
fn limit() {
    let lk = open("deadline_ms=10000&max_sessions=1&limit=deny");
    create(&lk, 18);
    let error = lk.create(&Draft::of(18)).unwrap_err();
    assert!(error.kind() == Kind::Limit && !error.is_unavailable());
    passed(18, "limit");
}

#[test]
fn secrets() {
    redis(&["acl", "setuser", "hidden", "on", ">pass-is-here", "~*", "&*", "+@all"]);
    let socket = env("LATCHKEY_REDIS_SOCKET");
    let lk = Latchkey::open(&format!("unix://hidden:pass-is-here@{socket}?events=1&{PATIENT}")).unwrap();
    let token = lk.create(&Draft { fields: vec![("app.a".into(), b"hidden value".to_vec())], ..Draft::of(19) }).unwrap();
    let long = token.clone() + &token;
    let mut texts = vec![
        format!("{lk:?} {:?} {:?}", lk.validate(&token).unwrap(), lk.load(&token).unwrap()),
        format!("{:?}", Rotated::To(token.clone())),
        format!("{:?}", latchkey::tower::Token(token.clone())),
        lk.metrics().unwrap(),
    ];
    for error in [
        lk.create(&Draft { token: Some(long.clone()), ..Draft::of(19) }).unwrap_err(),
        lk.get_fields(&token, &[&long]).unwrap_err(),
        Latchkey::open(&format!("unix://hidden:pass-is-wrong@{socket}")).unwrap_err(),
        Latchkey::open(&format!("unix://hidden:pass-is-here@{socket}?nonsense=1")).unwrap_err(),
    ] {
        texts.push(format!("{error} {error:?}"));
    }
    lk.revoke(&token).unwrap();
    until("the log has its lines", || {
        let line = lk.read_log().unwrap();
        texts.extend(line.iter().map(|(level, text)| format!("{level:?} {text}")));
        line.map_or(false, |(_, text)| text.starts_with("event: revoked"))
    });
    for text in texts {
        assert!(!text.contains(&token[20..]) && !text.contains("pass-is") && !text.contains("hidden value"), "{text}");
    }
    redis(&["acl", "deluser", "hidden"]);
    passed(19, "secrets");
}

#[test]
fn log() {
    redis(&["config", "set", "maxmemory-policy", "allkeys-lru", "maxmemory", "1gb"]);
    let lk = handle();
    let has = |level, start: &str| while_lines(&lk, |(l, text)| l <= level && text.starts_with(start));
    until("the line came", || has(Level::Warning, "setting maxmemory-policy: "));
    redis(&["config", "set", "maxmemory-policy", "noeviction", "maxmemory", "0"]);
    stopped(|| until("the link says that Redis is away", || has(Level::Info, "link: ")));
    recovered(&lk);
    passed(20, "log");
}

fn while_lines(lk: &Latchkey, mut good: impl FnMut((Level, String)) -> bool) -> bool {
    while let Some(line) = lk.read_log().unwrap() {
        if good(line) {
            return true;
        }
    }
    false
}

#[test]
fn configuration() {
    let error = Latchkey::open(&url("no_such_option=1")).unwrap_err();
    assert!(error.kind() == Kind::Config && error.to_string().contains("no_such_option"), "{error}");
    assert_eq!(check_config("redis://h?staleness_ms=1").unwrap_err().kind(), Kind::Config);
    check_config("redis://h").unwrap();
    let lk = handle();
    let writes = metric(&lk, "latchkey_l2_writes_total");
    for draft in [
        Draft { role: "seventeen bytes !".into(), ..Draft::of(1) },
        Draft { role: "a\0b".into(), ..Draft::of(1) },
        Draft { idle: Some(Duration::MAX), ..Draft::of(1) },
        Draft { lifetime: Some(ZERO), ..Draft::of(1) },
        Draft::named(""),
        Draft { fields: vec![("x".into(), vec![])], ..Draft::of(1) },
        Draft { fields: vec![("x\0y".into(), vec![])], ..Draft::of(1) },
    ] {
        assert_eq!(lk.create(&draft).unwrap_err().kind(), Kind::Argument);
        assert_eq!(block_on(async { lk.aio().unwrap().create(&draft).await }).unwrap_err().kind(), Kind::Argument);
    }
    assert_eq!(lk.aio().unwrap_err().kind(), Kind::Argument); // no runtime is around it
    for config in [url("\0no_such_option=1"), url("") + "\0"] {
        assert_eq!(Latchkey::open(&config).unwrap_err().kind(), Kind::Argument);
        assert_eq!(check_config(&config).unwrap_err().kind(), Kind::Argument);
    }
    assert_eq!(lk.revoke_user(21, Some("none")).unwrap_err().kind(), Kind::Argument);
    assert_eq!(lk.sessions(21, Some("")).unwrap_err().kind(), Kind::Argument);
    assert_eq!(metric(&lk, "latchkey_l2_writes_total"), writes);
    // A short time is not none, which would be that of the configuration.
    let token = lk.create(&Draft { idle: Some(Duration::from_nanos(1)), ..Draft::of(21) }).unwrap();
    until("it idles out", || matches!(lk.validate(&token), Ok(None)));
    passed(21, "configuration");
}

async fn login(aio: &Aio, draft: &Draft) -> String {
    for round in 0.. {
        match aio.create(draft).await {
            Ok(token) => return token,
            Err(error) => assert!(round < 1000 && error.kind() != Kind::Argument, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    unreachable!()
}

#[test]
fn given_up() {
    let lk = open(&format!("{PATIENT}&max_sessions=1&limit=deny"));
    block_on(async {
        let aio = lk.aio().unwrap();
        let pause = Stopped::now();
        let draft = Draft::of(26);
        assert!(tokio::time::timeout(Duration::from_millis(200), aio.create(&draft)).await.is_err());
        drop(pause);
        let token = login(&aio, &draft).await;
        // The new token of an exchange without a grace is the only one.
        let pause = Stopped::now();
        assert!(tokio::time::timeout(Duration::from_millis(200), aio.rotate(&token, Duration::ZERO)).await.is_err());
        drop(pause);
        login(&aio, &draft).await;
    });
    passed(26, "given up");
}

#[test]
fn a_thousand_misses() {
    let (lk, there) = (handle(), handle());
    let tokens: Vec<_> = (0..1000).map(|i| create(&lk, 2_200_000 + i)).collect();
    block_on(async {
        let aio = there.aio().unwrap();
        let before = threads();
        let answers: Vec<_> = tokens
            .iter()
            .map(|token| {
                let (aio, token) = (aio.clone(), token.clone());
                tokio::spawn(async move { aio.validate(token).await })
            })
            .collect();
        for (i, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.await.unwrap().unwrap().unwrap().user_id(), 2_200_000 + i as u64);
        }
        assert_eq!(threads(), before);
    });
    assert_eq!(metric(&there, "latchkey_l2_reads_total"), 1000);
    passed(22, "a thousand misses");
}

#[test]
fn memory() {
    let rounds: usize = std::env::var("ROUNDS").map_or(100, |rounds| rounds.parse().unwrap());
    let lk = handle();
    let token = lk.create(&Draft { fields: vec![("app.x".into(), vec![0; 1000])], ..Draft::of(23) }).unwrap();
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
    };
    let round = || {
        let lk = open("deadline_ms=10000&l1_capacity=1000");
        for _ in 0..200 {
            assert!(lk.clone().validate(&token).unwrap().is_some());
        }
        drop(lk.load(&token).unwrap());
        block_on(async {
            let aio = lk.aio().unwrap();
            for _ in 0..20 {
                // Dropped before they are answered; some of them after they were asked.
                drop(aio.validate_fresh(&token, ZERO));
                let other = aio.clone();
                let token = token.clone();
                let asked = tokio::spawn(async move { (other.validate_fresh(&token, ZERO).await, other.load(&token).await) });
                tokio::task::yield_now().await;
                asked.abort();
            }
            drop(aio.load(&token).await.unwrap());
        });
    };
    for _ in 0..rounds.min(20) {
        round();
    }
    let before = (entries("/proc/self/fd"), threads(), resident());
    for _ in 0..rounds {
        round();
    }
    until("descriptors and threads are as before", || (entries("/proc/self/fd"), threads()) <= (before.0, before.1));
    let grown = resident().saturating_sub(before.2) / 1024;
    assert!(grown < 20, "memory has grown by {grown} MiB");
    passed(23, "memory");
}
