//! The memory that a call filled or read from: one buffer, a list of them, or messages with a list each.
//!
//! In: what the call was given. Out: one buffer after the other. Never: the bytes themselves.

use crate::kernel::{page_address, read, read_user};

/// Where buffers and their list lie.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Place {
    /// `struct iovec`s and buffers in user memory: a system call's own arguments.
    User,
    /// `struct iovec`s that the kernel copied, buffers in user memory.
    KernelList,
    /// `struct kvec`s and buffers in kernel memory.
    Kernel,
    /// `struct bio_vec`s of pages: sendfile, splice.
    Pages,
}

/// Memory that a call filled or read from.
pub struct Memory {
    /// What is left of the current buffer.
    pub base: u64,
    pub len: u64,
    /// The list elements that follow.
    vector: u64,
    count: u64,
    /// Bytes of the first buffer of the list that are not the call's.
    skip: u64,
    place: u64,
    /// Bytes of the call that are in this list; what is behind them in the buffers is not the call's.
    pub part: u64,
    /// The `struct mmsghdr`s that follow this list, in user memory.
    headers: u64,
    messages: u64,
}

/// `struct mmsghdr`: a `struct user_msghdr`, then how many bytes of it moved.
pub const MMSGHDR: u64 = 64;
pub const MSG_LEN: u64 = 56;

impl Memory {
    #[inline(always)]
    pub fn buffer(base: u64, len: u64) -> Self {
        Self {
            base,
            len,
            vector: 0,
            count: 0,
            skip: 0,
            place: Place::User as u64,
            part: u64::MAX,
            headers: 0,
            messages: 0,
        }
    }

    /// One page of the kernel, or a part of it.
    #[inline(always)]
    pub fn page(page: u64, offset: u64, len: u64) -> Self {
        Self {
            place: Place::Pages as u64,
            ..Self::buffer(page_address(page, offset), len)
        }
    }

    #[inline(always)]
    pub fn vector(vector: u64, count: u64) -> Self {
        Self::list(vector, count, 0, Place::User)
    }

    #[inline(always)]
    pub fn list(vector: u64, count: u64, skip: u64, place: Place) -> Self {
        Self {
            vector,
            count,
            skip,
            place: place as u64,
            ..Self::buffer(0, 0)
        }
    }

    /// `struct user_msghdr`: name 8, namelen 8 with padding, iov 8, iovlen 8.
    #[inline(always)]
    pub fn message(header: u64) -> Self {
        Self::vector(read_user(header + 16), read_user(header + 24))
    }

    /// The messages of one sendmmsg or recvmmsg.
    #[inline(always)]
    pub fn messages(headers: u64, messages: u64) -> Self {
        Self {
            part: 0,
            headers,
            messages,
            ..Self::buffer(0, 0)
        }
    }

    /// Goes on to the next message; false when it was the last.
    #[inline(always)]
    pub fn next_message(&mut self) -> bool {
        if self.messages == 0 {
            return false;
        }
        let header = self.headers;
        self.vector = read_user(header + 16);
        self.count = read_user(header + 24);
        self.part = u64::from(read_user::<u32>(header + MSG_LEN));
        self.len = 0;
        self.headers += MMSGHDR;
        self.messages -= 1;
        true
    }

    #[inline(always)]
    pub fn in_kernel(&self) -> bool {
        self.place == Place::Kernel as u64 || self.place == Place::Pages as u64
    }

    /// Goes on to the next buffer of the list; false when it was the last.
    #[inline(always)]
    pub fn next_buffer(&mut self) -> bool {
        if self.count == 0 {
            return false;
        }
        let at = self.vector;
        if self.place == Place::User as u64 {
            self.base = read_user(at);
            self.len = read_user(at + 8);
        } else if self.place == Place::Pages as u64 {
            // `struct bio_vec`: page 8, length 4, offset 4.
            self.base = page_address(read(at, 0), u64::from(read::<u32>(at, 12)));
            self.len = u64::from(read::<u32>(at, 8));
        } else {
            self.base = read(at, 0);
            self.len = read(at, 8);
        }
        let skip = self.skip.min(self.len);
        self.base += skip;
        self.len -= skip;
        self.skip = 0;
        self.vector += 16;
        self.count -= 1;
        true
    }
}
