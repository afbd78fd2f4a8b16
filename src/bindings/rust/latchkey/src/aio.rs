// SPDX-License-Identifier: MIT
//! The handle for tokio. Memory answers at once. Any other question goes to a queue of the library; one task waits for the queue's
//! descriptor, and hands out the answers. No thread waits.
use crate::entry::text;
use crate::error::is_no;
use crate::handle::parts;
use crate::raw::{milliseconds, Fields, Names, RawAccess, RawDraft};
use crate::{Access, Draft, Entry, Error, Kind, Latchkey, Record, Result, Rotated};
use latchkey_sys as sys;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::mem::{size_of, zeroed};
use std::os::raw::c_int;
use std::os::unix::io::{AsRawFd, RawFd};
use std::pin::Pin;
use std::ptr::null;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, Notify};

struct Answer {
    status: c_int,
    entry: Entry,
    token: Made,
    count: u64,
    record: Option<Record>,
}

/// A token that an answer holds. If it is the one token of its session and reaches nobody, since the future was dropped or the handle
/// closed, the session is ended, or it would count as one of the user's.
struct Made {
    token: String,
    ends: Option<Arc<Core>>,
}

impl Made {
    fn taken(mut self) -> String {
        self.ends = None;
        std::mem::take(&mut self.token)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let core = match self.ends.take() {
            Some(core) => core,
            None => return,
        };
        // SAFETY: zeros are a request, and the token lives until this returns.
        let mut raw: sys::latchkey_request = unsafe { zeroed() };
        raw.size = size_of::<sys::latchkey_request>();
        raw.tag = UNHEARD;
        about(&mut raw, sys::LATCHKEY_REVOKE, self.token.as_bytes());
        unsafe { sys::latchkey_queue_submit(core.queue.0, &raw) };
    }
}

/// The tag of requests whose answers nobody waits for.
const UNHEARD: u64 = 0;

/// Is set in the tag of a request whose answer holds the one token of its session: a new session's, or that of an exchange that ends
/// the old token at once.
const MAKES: u64 = 1 << 63;

struct Queue(*mut sys::latchkey_queue);
// SAFETY: the functions of a queue may be called from any thread. It is closed when nobody has it any more.
unsafe impl Send for Queue {}
unsafe impl Sync for Queue {}

/// The descriptor is the queue's.
struct Descriptor(RawFd);
impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// What the task that waits has, too.
struct Core {
    lk: Latchkey,
    queue: Queue,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    ended: AtomicBool,
    end: Notify,
}

impl Drop for Core {
    fn drop(&mut self) {
        // SAFETY: this is the last use of the queue, and the handle is still there.
        unsafe { sys::latchkey_queue_close(self.queue.0) }
    }
}

/// The async handle. Clones are the same. Its methods are those of [`Latchkey`], and mean the same.
#[derive(Clone)]
pub struct Aio {
    core: Arc<Core>,
    tag: Arc<AtomicU64>,
    _last: Arc<Last>,
}

/// When the last clone is dropped, the task ends.
struct Last(Arc<Core>);
impl Drop for Last {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Latchkey {
    /// The async handle, for the tokio runtime that this is called in.
    pub fn aio(&self) -> Result<Aio> {
        Aio::new(self.clone())
    }
}

impl Core {
    fn finish(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.end.notify_one();
        self.waiting.lock().unwrap().clear(); // each that waits sees that its sender is gone
    }

    fn reap(self: &Arc<Self>) {
        const MAX: usize = 32;
        // SAFETY: zeros are such results, and the library writes as many as it says.
        let mut results: [sys::latchkey_result; MAX] = unsafe { zeroed() };
        loop {
            let count =
                unsafe { sys::latchkey_queue_reap(self.queue.0, results.as_mut_ptr(), size_of::<sys::latchkey_result>(), MAX) };
            for result in &mut results[..count] {
                let record = (!result.record.is_null()).then(|| unsafe { Record::take(result.record) });
                let (status, entry, token) = (result.status, Entry(result.entry), text(&result.token));
                result.token = [0; sys::LATCHKEY_TOKEN_SIZE];
                let ends = (result.tag & MAKES != 0 && status == sys::LATCHKEY_OK).then(|| self.clone());
                let token = Made { token, ends };
                let waiting = self.waiting.lock().unwrap().remove(&result.tag);
                if let Some(waiting) = waiting {
                    let _ = waiting.send(Answer { status, entry, token, count: result.count, record });
                    // it may have been dropped
                }
            }
            if count < MAX {
                return;
            }
        }
    }
}

/// The first of two futures: None where it is the second. (tokio's select! would need its macros.)
struct First<A, B>(Pin<Box<A>>, Pin<Box<B>>);
impl<A: Future, B: Future> Future for First<A, B> {
    type Output = Option<A::Output>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.1.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.0.as_mut().poll(cx).map(Some)
    }
}

/// Ends the handle also if the runtime ends first, even before the task began: nobody would hand out the answers then.
struct Runs(Arc<Core>);
impl Drop for Runs {
    fn drop(&mut self) {
        self.0.finish();
    }
}

async fn run(runs: Runs, descriptor: AsyncFd<Descriptor>) {
    let core = &runs.0;
    while !core.ended.load(Ordering::SeqCst) {
        match First(Box::pin(descriptor.readable()), Box::pin(core.end.notified())).await {
            Some(Ok(mut guard)) => {
                guard.clear_ready(); // before the reap: what comes after it wakes this task again
                core.reap();
            }
            _ => return,
        }
    }
}

impl Aio {
    fn new(lk: Latchkey) -> Result<Self> {
        let runtime =
            tokio::runtime::Handle::try_current().map_err(|_| Error::argument("aio() needs a tokio runtime around it"))?;
        // SAFETY: the handle is open; the queue is closed by Core.
        let queue = unsafe { sys::latchkey_queue_open(lk.inner.raw()?) };
        if queue.is_null() {
            return Err(lk.inner.failure(sys::LATCHKEY_UNAVAILABLE));
        }
        let core = Arc::new(Core {
            lk,
            queue: Queue(queue),
            waiting: Mutex::new(HashMap::new()),
            ended: AtomicBool::new(false),
            end: Notify::new(),
        });
        let descriptor =
            AsyncFd::with_interest(Descriptor(unsafe { sys::latchkey_queue_fd(queue) }), tokio::io::Interest::READABLE)
                .map_err(Error::unavailable)?;
        runtime.spawn(run(Runs(core.clone()), descriptor));
        Ok(Aio { _last: Arc::new(Last(core.clone())), tag: Arc::new(AtomicU64::new(UNHEARD + 1)), core })
    }

    /// The handle that blocks, for what has no async form.
    pub fn blocking(&self) -> &Latchkey {
        &self.core.lk
    }

    /// Ends this handle. Calls that wait for an answer end with [`Kind::Closed`].
    pub fn close(&self) {
        self.core.finish();
    }

    /// Submits a request. The future that comes back owns nothing of the caller's: the library has copied all of it.
    fn submit(&self, request: impl FnOnce(&mut sys::latchkey_request)) -> Result<oneshot::Receiver<Answer>> {
        let core = &self.core;
        core.lk.inner.raw()?;
        // SAFETY: zeros are a request.
        let mut raw: sys::latchkey_request = unsafe { zeroed() };
        raw.size = size_of::<sys::latchkey_request>();
        raw.tag = self.tag.fetch_add(1, Ordering::Relaxed);
        request(&mut raw);
        let exchanged = raw.kind == sys::LATCHKEY_ROTATE && raw.grace_ms == 0;
        if raw.kind == sys::LATCHKEY_CREATE && raw.token.is_null() || exchanged {
            raw.tag |= MAKES;
        }
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = core.waiting.lock().unwrap();
            if core.ended.load(Ordering::SeqCst) {
                return Err(Error::closed());
            }
            waiting.insert(raw.tag, sender);
        }
        // SAFETY: what the request points to lives until this returns.
        match unsafe { sys::latchkey_queue_submit(core.queue.0, &raw) } {
            sys::LATCHKEY_OK => Ok(receiver),
            status => {
                let mut waiting = core.waiting.lock().unwrap();
                let sender = waiting.remove(&raw.tag);
                drop(waiting);
                if is_no(status) {
                    // SAFETY: zeros are an entry.
                    let token = Made { token: String::new(), ends: None };
                    let answer = Answer { status, entry: Entry(unsafe { zeroed() }), token, count: 0, record: None };
                    let _ = sender.map(|sender| sender.send(answer));
                    return Ok(receiver);
                }
                Err(core.lk.inner.failure(status))
            }
        }
    }

    /// `Some`: OK. `None`: there is no such session.
    async fn ask(&self, receiver: Result<oneshot::Receiver<Answer>>) -> Result<Option<Answer>> {
        let answer = receiver?.await.map_err(|_| Error::closed())?;
        match answer.status {
            sys::LATCHKEY_OK => Ok(Some(answer)),
            status if is_no(status) => Ok(None),
            status => Err(Error::of(status, "")),
        }
    }

    /// See [`Latchkey::try_validate`].
    pub fn try_validate(&self, token: impl AsRef<[u8]>) -> Option<Result<Option<Entry>>> {
        if self.core.ended.load(Ordering::Relaxed) {
            return Some(Err(Error::closed()));
        }
        self.core.lk.try_validate(token)
    }

    /// See [`Latchkey::validate`].
    pub async fn validate(&self, token: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        match self.try_validate(token.as_ref()) {
            Some(answer) => answer,
            None => self.fresh(token.as_ref(), None).await,
        }
    }

    /// See [`Latchkey::validate_fresh`].
    pub async fn validate_fresh(&self, token: impl AsRef<[u8]>, max_age: Duration) -> Result<Option<Entry>> {
        let max_age = milliseconds(max_age)?;
        self.fresh(token.as_ref(), Some(max_age)).await
    }

    async fn fresh(&self, token: &[u8], max_age: Option<i64>) -> Result<Option<Entry>> {
        let receiver = self.submit(|request| {
            about(request, sys::LATCHKEY_VALIDATE, token);
            request.fresh = max_age.is_some().into();
            request.max_age_ms = max_age.unwrap_or(0);
        });
        Ok(self.ask(receiver).await?.map(|answer| answer.entry))
    }

    /// See [`Latchkey::create`].
    pub async fn create(&self, draft: &Draft) -> Result<String> {
        let receiver = RawDraft::of(draft).and_then(|raw| {
            self.submit(|request| {
                request.kind = sys::LATCHKEY_CREATE;
                request.draft = &raw.raw;
                (request.token, request.token_len) = draft.token.as_ref().map_or((null(), 0), |token| parts(token.as_bytes()));
            })
        });
        let made = self.ask(receiver).await?;
        made.map(|answer| answer.token.taken()).ok_or_else(|| Error::argument("the token of the draft is not one of token_new"))
    }

    /// See [`Latchkey::revoke`].
    pub async fn revoke(&self, token: impl AsRef<[u8]>) -> Result<bool> {
        let receiver = self.submit(|request| about(request, sys::LATCHKEY_REVOKE, token.as_ref()));
        Ok(self.ask(receiver).await?.is_some())
    }

    /// Asks at once for the end of all of them, also if the future is dropped. The first error, or whether there was one to end.
    #[cfg(feature = "tower")]
    pub(crate) fn revoke_all(&self, tokens: Vec<String>) -> impl Future<Output = Result<bool>> + '_ {
        let end = |token: String| self.submit(|request| about(request, sys::LATCHKEY_REVOKE, token.as_bytes()));
        let asked: Vec<_> = tokens.into_iter().map(end).collect();
        async move {
            let mut ended = Ok(false);
            for each in asked {
                let answer = self.ask(each).await;
                ended = ended.and_then(|before| Ok(answer?.is_some() || before));
            }
            ended
        }
    }

    /// See [`Latchkey::touch`].
    pub async fn touch(&self, token: impl AsRef<[u8]>) -> Result<bool> {
        let receiver = self.submit(|request| about(request, sys::LATCHKEY_TOUCH, token.as_ref()));
        Ok(self.ask(receiver).await?.is_some())
    }

    /// See [`Latchkey::rotate`].
    pub async fn rotate(&self, token: impl AsRef<[u8]>, grace: Duration) -> Result<Option<Rotated>> {
        let grace = milliseconds(grace)?;
        let receiver = self.submit(|request| {
            about(request, sys::LATCHKEY_ROTATE, token.as_ref());
            request.grace_ms = grace;
        });
        match self.ask(receiver).await {
            Ok(answer) => Ok(answer.map(|answer| Rotated::To(answer.token.taken()))),
            Err(error) if error.kind() == Kind::Refused => Ok(Some(Rotated::Already)),
            Err(error) => Err(error),
        }
    }

    /// See [`Latchkey::load`].
    pub async fn load(&self, token: impl AsRef<[u8]>) -> Result<Option<Record>> {
        let receiver = self.submit(|request| about(request, sys::LATCHKEY_LOAD, token.as_ref()));
        Ok(self.ask(receiver).await?.and_then(|answer| answer.record))
    }

    /// See [`Latchkey::get_fields`].
    pub async fn get_fields(&self, token: impl AsRef<[u8]>, names: &[&str]) -> Result<Option<Record>> {
        let receiver = Names::of(names).and_then(|names| {
            self.submit(|request| {
                about(request, sys::LATCHKEY_GET_FIELDS, token.as_ref());
                (request.names, request.count) = (names.pointers.as_ptr(), names.pointers.len());
            })
        });
        Ok(self.ask(receiver).await?.and_then(|answer| answer.record))
    }

    /// See [`Latchkey::set_fields`].
    pub async fn set_fields(&self, token: impl AsRef<[u8]>, fields: &[(&str, Option<&[u8]>)]) -> Result<bool> {
        let receiver = Fields::of(fields.iter().copied(), None).and_then(|fields| {
            self.submit(|request| {
                about(request, sys::LATCHKEY_SET_FIELDS, token.as_ref());
                (request.fields, request.count) = (fields.fields.as_ptr(), fields.fields.len());
            })
        });
        Ok(self.ask(receiver).await?.is_some())
    }

    /// See [`Latchkey::change_fields`].
    pub async fn change_fields(
        &self,
        token: impl AsRef<[u8]>,
        record: &Record,
        fields: &[(&str, Option<&[u8]>)],
    ) -> Result<Option<bool>> {
        let receiver = Fields::of(fields.iter().copied(), Some(record)).and_then(|fields| {
            self.submit(|request| {
                about(request, sys::LATCHKEY_CHANGE_FIELDS, token.as_ref());
                (request.changes, request.count) = (fields.changes.as_ptr(), fields.changes.len());
            })
        });
        match self.ask(receiver).await {
            Ok(answer) => Ok(answer.map(|_| true)),
            Err(error) if error.kind() == Kind::Refused => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }

    /// See [`Latchkey::set_access`].
    pub async fn set_access(&self, token: impl AsRef<[u8]>, change: &Access) -> Result<bool> {
        let receiver = RawAccess::of(change).and_then(|access| {
            self.submit(|request| {
                about(request, sys::LATCHKEY_SET_ACCESS, token.as_ref());
                request.access = &access.raw;
            })
        });
        Ok(self.ask(receiver).await?.is_some())
    }

    /// See [`Latchkey::revoke_user`].
    pub async fn revoke_user(&self, user_id: u64, keep: Option<&str>) -> Result<usize> {
        let receiver = self.submit(|request| {
            request.kind = sys::LATCHKEY_REVOKE_USER;
            request.user_id = user_id;
            (request.token, request.token_len) = keep.map_or((null(), 0), |token| parts(token.as_bytes()));
        });
        let answer = self.ask(receiver).await?.ok_or_else(|| Error::argument("the token to keep is not one"))?;
        Ok(answer.count as usize)
    }
}

fn about(request: &mut sys::latchkey_request, kind: c_int, token: &[u8]) {
    request.kind = kind;
    (request.token, request.token_len) = parts(token);
}

impl fmt::Debug for Aio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aio")
    }
}
