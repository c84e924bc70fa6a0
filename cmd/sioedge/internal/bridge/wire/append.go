package wire

import "github.com/tinylib/msgp/msgp"

// The functions here append one message of a batch, in the shortest form. Texts are valid
// UTF-8, and numbers below 2^53. Nothing that is passed is kept.

// AppendBatch appends the head of a batch of n messages, which follow.
func AppendBatch(dst []byte, ack uint64, n int) []byte {
	return msgp.AppendUint64(msgp.AppendArrayHeader(dst, uint32(n+1)), ack)
}

// head appends the beginning of a message with n members behind its kind.
func head(dst []byte, k Kind, n int) []byte {
	return append(msgp.AppendArrayHeader(dst, uint32(n+1)), byte(k))
}

func appendText[T string | []byte](dst []byte, t T) []byte {
	return append(textHead(dst, len(t)), t...)
}

// textHead appends what stands in front of a text of n bytes.
func textHead(dst []byte, n int) []byte {
	switch {
	case n < 32:
		return append(dst, 0xa0|byte(n))
	case n < 1<<8:
		return append(dst, 0xd9, byte(n))
	case n < 1<<16:
		return append(dst, 0xda, byte(n>>8), byte(n))
	}
	return append(dst, 0xdb, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendTexts(dst []byte, all []string) []byte {
	dst = msgp.AppendArrayHeader(dst, uint32(len(all)))
	for _, t := range all {
		dst = appendText(dst, t)
	}
	return dst
}

func appendID(dst []byte, id int64) []byte {
	if id == None {
		return msgp.AppendNil(dst)
	}
	return msgp.AppendUint64(dst, uint64(id))
}

func appendBins(dst []byte, bins [][]byte) []byte {
	for _, b := range bins {
		dst = msgp.AppendBytes(dst, b)
	}
	return dst
}

// appendTail appends JSON and what it refers to.
func appendTail(dst, json []byte, bins [][]byte) []byte {
	return appendBins(appendText(dst, json), bins)
}

// AppendWelcome appends [1].
func AppendWelcome(dst []byte, w *Welcome) []byte {
	n := 14
	if !w.Resumed {
		n--
	}
	dst = msgp.AppendMapHeader(head(dst, KindWelcome, 1), uint32(n))
	dst = msgp.AppendUint64(appendText(dst, "version"), w.Version)
	dst = appendText(appendText(dst, "edge"), w.Edge)
	dst = appendText(appendText(dst, "session"), w.Session)
	dst = msgp.AppendBool(appendText(dst, "resumed"), w.Resumed)
	if w.Resumed {
		dst = msgp.AppendUint64(appendText(dst, "received"), w.Received)
	}
	dst = appendSettings(dst, &w.Settings, HasAll)
	return appendText(appendText(dst, "server"), w.Server)
}

// appendSettings appends members, but no head of a map.
func appendSettings(dst []byte, s *Settings, has Setting) []byte {
	for i, x := range s.numbers() {
		if numberBits[i] == HasRecovery && has&HasData != 0 {
			dst = appendText(appendText(dst, "data"), s.Data)
		}
		if has&numberBits[i] != 0 {
			dst = msgp.AppendUint64(appendText(dst, x.name), *x.v)
		}
	}
	return dst
}

// AppendConnection appends [2].
func AppendConnection(dst []byte, conn uint64, h *Handshake) []byte {
	return AppendHandshake(msgp.AppendUint64(head(dst, KindConnection, 2), conn), h)
}

// AppendConnectionOf is AppendConnection of what AppendHandshake has appended, for who
// tells several processes of it.
func AppendConnectionOf(dst []byte, conn uint64, handshake []byte) []byte {
	return append(msgp.AppendUint64(head(dst, KindConnection, 2), conn), handshake...)
}

// AppendHandshake appends what [2] says of a connection.
func AppendHandshake(dst []byte, h *Handshake) []byte {
	dst = msgp.AppendMapHeader(dst, 9)
	dst = appendText(appendText(dst, "id"), h.ID)
	dst = appendText(appendText(dst, "address"), h.Address)
	dst = msgp.AppendUint64(appendText(dst, "port"), h.Port)
	dst = msgp.AppendMapHeader(appendText(dst, "headers"), uint32(len(h.Headers)))
	for _, x := range h.Headers {
		dst = appendText(appendText(dst, x.Name), x.Value)
	}
	dst = appendText(appendText(dst, "url"), h.URL)
	dst = msgp.AppendBool(appendText(dst, "secure"), h.Secure)
	dst = msgp.AppendUint64(appendText(dst, "issued"), h.Issued)
	dst = appendText(appendText(dst, "transport"), h.Transport)
	return msgp.AppendUint64(appendText(dst, "protocol"), h.Protocol)
}

// AppendSocket appends [3]. Auth is JSON; auth, st and id may be nil.
func AppendSocket(dst []byte, conn, sock uint64, nsp, sid string, auth []byte, st *State, id *Identity) []byte {
	n := 4
	switch {
	case id != nil:
		n = 7
	case st != nil:
		n = 6
	case auth != nil:
		n = 5
	}
	dst = msgp.AppendUint64(msgp.AppendUint64(head(dst, KindSocket, n), conn), sock)
	dst = appendText(appendText(dst, nsp), sid)
	if n > 4 {
		dst = appendOptional(dst, auth)
	}
	switch {
	case st != nil:
		dst = appendState(dst, st)
	case id != nil:
		dst = msgp.AppendNil(dst)
	}
	if id != nil {
		dst = appendIdentity(dst, id)
	}
	return dst
}

// appendOptional appends a text, or nil.
func appendOptional(dst, t []byte) []byte {
	if t == nil {
		return msgp.AppendNil(dst)
	}
	return appendText(dst, t)
}

func appendState(dst []byte, s *State) []byte {
	dst = msgp.AppendMapHeader(dst, uint32(2+size(s.Data != nil)))
	dst = appendTexts(appendText(dst, "rooms"), s.Rooms)
	if s.Data != nil {
		dst = appendText(appendText(dst, "data"), s.Data)
	}
	return msgp.AppendBool(appendText(dst, "taken"), s.Taken)
}

func appendIdentity(dst []byte, id *Identity) []byte {
	dst = msgp.AppendMapHeader(dst, uint32(1+size(id.Claims != nil)))
	dst = appendText(appendText(dst, "user"), id.User)
	if id.Claims != nil {
		dst = appendText(appendText(dst, "claims"), id.Claims)
	}
	return dst
}

// size is how many members one that there may be is.
func size(is bool) int {
	if is {
		return 1
	}
	return 0
}

// AppendEvent appends [4]. Ack is None if the client wants no answer.
func AppendEvent(dst []byte, sock uint64, ack int64, json []byte, bins [][]byte) []byte {
	dst = msgp.AppendUint64(head(dst, KindEvent, 3+len(bins)), sock)
	return appendTail(appendID(dst, ack), json, bins)
}

// AppendEventOf is AppendEvent of an event's name, which is quoted as in JSON, and its
// arguments, JSON each.
func AppendEventOf(dst []byte, sock uint64, ack int64, name []byte, args, bins [][]byte) []byte {
	dst = msgp.AppendUint64(head(dst, KindEvent, 3+len(bins)), sock)
	dst = appendID(dst, ack)
	return appendBins(appendArray(dst, name, args), bins)
}

// appendArray appends the text of a JSON array of values, a first one of which may be nil.
func appendArray(dst, first []byte, rest [][]byte) []byte {
	n := 1 + max(len(rest), 1) // brackets and commas
	if first != nil {
		n = 2 + len(rest) + len(first)
	}
	for _, v := range rest {
		n += len(v)
	}
	dst = append(append(textHead(dst, n), '['), first...)
	for i, v := range rest {
		if i > 0 || first != nil {
			dst = append(dst, ',')
		}
		dst = append(dst, v...)
	}
	return append(dst, ']')
}

// AppendAnswer appends [5].
func AppendAnswer(dst []byte, sock uint64, id int64, json []byte, bins [][]byte) []byte {
	dst = msgp.AppendUint64(head(dst, KindAnswer, 3+len(bins)), sock)
	return appendTail(appendID(dst, id), json, bins)
}

// AppendAnswerOf is AppendAnswer of arguments, JSON each.
func AppendAnswerOf(dst []byte, sock uint64, id int64, args, bins [][]byte) []byte {
	dst = msgp.AppendUint64(head(dst, KindAnswer, 3+len(bins)), sock)
	return appendBins(appendArray(appendID(dst, id), nil, args), bins)
}

// AppendLeft appends [6].
func AppendLeft(dst []byte, sock uint64, reason string, kept bool) []byte {
	dst = msgp.AppendUint64(head(dst, KindLeft, 3), sock)
	return msgp.AppendBool(appendText(dst, reason), kept)
}

// AppendConnectionEnded appends [7].
func AppendConnectionEnded(dst []byte, conn uint64, reason string) []byte {
	return appendText(msgp.AppendUint64(head(dst, KindConnectionEnded, 2), conn), reason)
}

// AppendAnswers appends [8].
func AppendAnswers(dst []byte, request int64, done bool, count uint64, answers []Reply) []byte {
	dst = appendID(head(dst, KindAnswers, 4), request)
	dst = msgp.AppendUint64(msgp.AppendBool(dst, done), count)
	dst = msgp.AppendArrayHeader(dst, uint32(len(answers)))
	for i := range answers {
		dst = msgp.AppendArrayHeader(dst, uint32(1+len(answers[i].Bins)))
		dst = appendTail(dst, answers[i].JSON, answers[i].Bins)
	}
	return dst
}

// AppendPeers appends [9].
func AppendPeers(dst []byte, peers []Peer) []byte {
	dst = msgp.AppendArrayHeader(head(dst, KindPeers, 1), uint32(len(peers)))
	for i := range peers {
		dst = appendText(msgp.AppendArrayHeader(dst, 3), peers[i].UID)
		dst = msgp.AppendBool(appendTexts(dst, peers[i].Namespaces), peers[i].Direct)
	}
	return dst
}

// AppendRelayed appends [10].
func AppendRelayed[T string | []byte](dst []byte, uid, nsp T, payload []byte) []byte {
	return msgp.AppendBytes(appendText(appendText(head(dst, KindRelayed, 3), uid), nsp), payload)
}

// AppendUpgraded appends [11].
func AppendUpgraded(dst []byte, conn uint64, transport string) []byte {
	return appendText(msgp.AppendUint64(head(dst, KindUpgraded, 2), conn), transport)
}

// AppendDrained appends [12].
func AppendDrained(dst []byte) []byte { return head(dst, KindDrained, 0) }

// AppendSettings appends [13] with the members that s.Has.
func AppendSettings(dst []byte, s *Settings) []byte {
	n := size(s.Has&HasData != 0)
	for _, bit := range numberBits {
		n += size(s.Has&bit != 0)
	}
	dst = msgp.AppendMapHeader(head(dst, KindSettings, 1), uint32(n))
	return appendSettings(dst, s, s.Has)
}

// AppendEnding appends [14].
func AppendEnding(dst []byte, code, text string) []byte {
	return appendText(appendText(head(dst, KindEnding, 2), code), text)
}
