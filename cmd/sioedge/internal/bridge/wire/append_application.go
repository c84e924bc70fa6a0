package wire

import "github.com/tinylib/msgp/msgp"

// What a process sends; here for tests, and whoever is one in Go.

// AppendHello appends [32].
func AppendHello(dst []byte, h *Hello) []byte {
	dst = msgp.AppendMapHeader(head(dst, KindHello, 1), uint32(8+size(h.Resume != "")))
	dst = msgp.AppendUint64(appendText(dst, "version"), h.Version)
	dst = appendText(appendText(dst, "uid"), h.UID)
	if h.Resume != "" {
		dst = appendText(appendText(dst, "resume"), h.Resume)
	}
	dst = msgp.AppendUint64(appendText(dst, "received"), h.Received)
	dst = msgp.AppendUint64(appendText(dst, "window"), h.Window)
	dst = appendTexts(appendText(dst, "namespaces"), h.Namespaces)
	dst = msgp.AppendBool(appendText(dst, "direct"), h.Direct)
	dst = appendText(appendText(dst, "package"), h.Package)
	return appendText(appendText(dst, "socketio"), h.SocketIO)
}

// appendNumbered appends a message of a kind that begins with a socket, or a connection.
func appendNumbered(dst []byte, k Kind, members int, number uint64) []byte {
	return msgp.AppendUint64(head(dst, k, members), number)
}

// AppendAccept appends [33].
func AppendAccept(dst []byte, sock uint64) []byte { return appendNumbered(dst, KindAccept, 1, sock) }

// AppendRefuse appends [34].
func AppendRefuse(dst []byte, sock uint64, json []byte) []byte {
	return appendText(appendNumbered(dst, KindRefuse, 2, sock), json)
}

// AppendEmit appends [35]. ID is None if the client is not to answer.
func AppendEmit(dst []byte, sock uint64, f Flags, id int64, json []byte, bins [][]byte) []byte {
	dst = msgp.AppendUint64(appendNumbered(dst, KindEmit, 4+len(bins), sock), uint64(f))
	return appendTail(appendID(dst, id), json, bins)
}

// AppendReply appends [36].
func AppendReply(dst []byte, sock uint64, ack int64, json []byte, bins [][]byte) []byte {
	return appendTail(appendID(appendNumbered(dst, KindReply, 3+len(bins), sock), ack), json, bins)
}

// A Target is who is addressed: all of a namespace, or those in Rooms, but not those in
// Except.
type Target struct {
	Nsp           string
	Rooms, Except []string
}

func appendTarget(dst []byte, t Target) []byte {
	return appendTexts(appendTexts(appendText(dst, t.Nsp), t.Rooms), t.Except)
}

// AppendBroadcast appends [37]. Request is None if clients are not to answer, and timeout
// (ms) 0 then.
func AppendBroadcast(dst []byte, to Target, f Flags, request int64, timeout uint64, json []byte, bins [][]byte) []byte {
	dst = appendTarget(head(dst, KindBroadcast, 7+len(bins)), to)
	dst = appendID(msgp.AppendUint64(dst, uint64(f)), request)
	if timeout == 0 {
		dst = msgp.AppendNil(dst)
	} else {
		dst = msgp.AppendUint64(dst, timeout)
	}
	return appendTail(dst, json, bins)
}

// AppendJoin appends [38].
func AppendJoin(dst []byte, sock uint64, rooms []string) []byte {
	return appendTexts(appendNumbered(dst, KindJoin, 2, sock), rooms)
}

// AppendLeave appends [39].
func AppendLeave(dst []byte, sock uint64, rooms []string) []byte {
	return appendTexts(appendNumbered(dst, KindLeave, 2, sock), rooms)
}

// AppendJoinAll appends [40].
func AppendJoinAll(dst []byte, to Target, names []string) []byte {
	return appendTexts(appendTarget(head(dst, KindJoinAll, 4), to), names)
}

// AppendLeaveAll appends [41].
func AppendLeaveAll(dst []byte, to Target, names []string) []byte {
	return appendTexts(appendTarget(head(dst, KindLeaveAll, 4), to), names)
}

// AppendDisconnect appends [42].
func AppendDisconnect(dst []byte, sock uint64) []byte {
	return appendNumbered(dst, KindDisconnect, 1, sock)
}

// AppendClose appends [43].
func AppendClose(dst []byte, conn uint64) []byte { return appendNumbered(dst, KindClose, 1, conn) }

// AppendDisconnectAll appends [44].
func AppendDisconnectAll(dst []byte, to Target, closing bool) []byte {
	return msgp.AppendBool(appendTarget(head(dst, KindDisconnectAll, 4), to), closing)
}

// appendData appends a message of a socket and its data, which may be nil.
func appendData(dst []byte, k Kind, sock uint64, data []byte) []byte {
	if data == nil {
		return appendNumbered(dst, k, 1, sock)
	}
	return appendText(appendNumbered(dst, k, 2, sock), data)
}

// AppendData appends [45].
func AppendData(dst []byte, sock uint64, data []byte) []byte {
	return appendData(dst, KindData, sock, data)
}

// AppendClosed appends [46].
func AppendClosed(dst []byte, sock uint64, data []byte) []byte {
	return appendData(dst, KindClosed, sock, data)
}

// AppendRelay appends [47].
func AppendRelay(dst []byte, uids []string, nsp string, payload []byte) []byte {
	dst = appendText(appendTexts(head(dst, KindRelay, 3), uids), nsp)
	return msgp.AppendBytes(dst, payload)
}

// AppendDraining appends [48].
func AppendDraining(dst []byte) []byte { return head(dst, KindDraining, 0) }

// AppendHandOver appends [49].
func AppendHandOver(dst []byte, sock uint64, data []byte) []byte {
	return appendData(dst, KindHandOver, sock, data)
}

// AppendHandedOver appends [50].
func AppendHandedOver(dst []byte) []byte { return head(dst, KindHandedOver, 0) }

// AppendChange appends [51].
func AppendChange(dst []byte, c *Change) []byte {
	dst = msgp.AppendMapHeader(head(dst, KindChange, 1), uint32(size(c.HasNamespaces)+size(c.HasDirect)))
	if c.HasNamespaces {
		dst = appendTexts(appendText(dst, "namespaces"), c.Namespaces)
	}
	if c.HasDirect {
		dst = msgp.AppendBool(appendText(dst, "direct"), c.Direct)
	}
	return dst
}

// AppendForget appends [52].
func AppendForget(dst []byte, request int64) []byte {
	return appendID(head(dst, KindForget, 1), request)
}
