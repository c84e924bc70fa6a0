package wire

// A member is one place of a message, and the field of Message that it goes to.
type member uint8

const (
	mHello member = iota + 1
	mWelcome
	mHandshake
	mSettings
	mChange
	mConn
	mSock
	mID
	mNsp
	mSID
	mAuth
	mState
	mIdentity
	mJSON
	mBins
	mReason
	mKept
	mDone
	mCount
	mAnswers
	mPeers
	mUID
	mPayload
	mTransport
	mCode
	mText
	mFlags
	mRooms
	mExcept
	mNames
	mUIDs
	mTimeout
	mData
	mClose
)

var memberNames = [...]string{
	mHello: "hello", mWelcome: "welcome", mHandshake: "handshake", mSettings: "settings", mChange: "settings",
	mConn: "conn", mSock: "sock", mID: "id", mNsp: "nsp", mSID: "id", mAuth: "auth", mState: "state", mIdentity: "identity",
	mJSON: "json", mBins: "bin", mReason: "reason", mKept: "kept", mDone: "done", mCount: "count", mAnswers: "answers",
	mPeers: "peers", mUID: "uid", mPayload: "payload", mTransport: "transport", mCode: "code", mText: "text", mFlags: "flags",
	mRooms: "rooms", mExcept: "except", mNames: "names", mUIDs: "uids", mTimeout: "timeout", mData: "data", mClose: "close",
}

func (m member) name() string { return memberNames[m] }

// A field is a member of a message. One that is not needed may be nil, or left out.
type field struct {
	member member
	needed bool
}

func need(m member) field  { return field{m, true} }
func maybe(m member) field { return field{member: m} }

// layouts has, for each kind, its name and members in their order.
var layouts = [...]struct {
	name   string
	fields []field
}{
	KindWelcome:         {"welcome", []field{need(mWelcome)}},
	KindConnection:      {"connection", []field{need(mConn), need(mHandshake)}},
	KindSocket:          {"socket", []field{need(mConn), need(mSock), need(mNsp), need(mSID), maybe(mAuth), maybe(mState), maybe(mIdentity)}},
	KindEvent:           {"event", []field{need(mSock), maybe(mID), need(mJSON), maybe(mBins)}},
	KindAnswer:          {"answer", []field{need(mSock), need(mID), need(mJSON), maybe(mBins)}},
	KindLeft:            {"left", []field{need(mSock), need(mReason), maybe(mKept)}},
	KindConnectionEnded: {"connection ended", []field{need(mConn), need(mReason)}},
	KindAnswers:         {"answers", []field{need(mID), maybe(mDone), maybe(mCount), maybe(mAnswers)}},
	KindPeers:           {"peers", []field{maybe(mPeers)}},
	KindRelayed:         {"relayed", []field{need(mUID), need(mNsp), need(mPayload)}},
	KindUpgraded:        {"upgraded", []field{need(mConn), need(mTransport)}},
	KindDrained:         {"drained", nil},
	KindSettings:        {"settings", []field{need(mSettings)}},
	KindEnding:          {"ending", []field{need(mCode), maybe(mText)}},

	KindHello:         {"hello", []field{need(mHello)}},
	KindAccept:        {"accept", []field{need(mSock)}},
	KindRefuse:        {"refuse", []field{need(mSock), need(mJSON)}},
	KindEmit:          {"emit", []field{need(mSock), maybe(mFlags), maybe(mID), need(mJSON), maybe(mBins)}},
	KindReply:         {"reply", []field{need(mSock), need(mID), need(mJSON), maybe(mBins)}},
	KindBroadcast:     {"broadcast", []field{need(mNsp), maybe(mRooms), maybe(mExcept), maybe(mFlags), maybe(mID), maybe(mTimeout), need(mJSON), maybe(mBins)}},
	KindJoin:          {"join", []field{need(mSock), maybe(mNames)}},
	KindLeave:         {"leave", []field{need(mSock), maybe(mNames)}},
	KindJoinAll:       {"join all", []field{need(mNsp), maybe(mRooms), maybe(mExcept), maybe(mNames)}},
	KindLeaveAll:      {"leave all", []field{need(mNsp), maybe(mRooms), maybe(mExcept), maybe(mNames)}},
	KindDisconnect:    {"disconnect", []field{need(mSock)}},
	KindClose:         {"close", []field{need(mConn)}},
	KindDisconnectAll: {"disconnect all", []field{need(mNsp), maybe(mRooms), maybe(mExcept), maybe(mClose)}},
	KindData:          {"data", []field{need(mSock), maybe(mData)}},
	KindClosed:        {"closed", []field{need(mSock), maybe(mData)}},
	KindRelay:         {"relay", []field{maybe(mUIDs), need(mNsp), need(mPayload)}},
	KindDraining:      {"draining", nil},
	KindHandOver:      {"hand over", []field{need(mSock), maybe(mData)}},
	KindHandedOver:    {"handed over", nil},
	KindChange:        {"change", []field{need(mChange)}},
	KindForget:        {"forget", []field{need(mID)}},
}

// read takes one member into its field. It is as long as there are members.
func (p *parser) read(of member, m *Message) (err error) {
	switch of {
	case mConn:
		m.Conn, err = p.number()
	case mSock:
		m.Sock, err = p.number()
	case mID:
		var id uint64
		id, err = p.number()
		m.ID = int64(id)
	case mCount:
		m.Count, err = p.number()
	case mTimeout:
		m.Timeout, err = p.number()
	case mFlags:
		var f uint64
		f, err = p.number()
		m.Flags = Flags(f)
	case mNsp, mSID, mUID, mCode, mAuth, mJSON, mData, mReason, mTransport, mText:
		*m.bytes(of), err = p.text()
	case mPayload:
		m.Payload, err = p.bin()
	case mKept:
		m.Kept, err = p.bool()
	case mDone:
		m.Done, err = p.bool()
	case mClose:
		m.Close, err = p.bool()
	case mRooms:
		m.Rooms, err = p.texts()
	case mExcept:
		m.Except, err = p.texts()
	case mNames, mUIDs:
		m.Names, err = p.texts()
	case mAnswers:
		m.Answers, err = p.answers()
	case mPeers:
		m.Peers, err = p.peers()
	default:
		err = p.readMap(of, m)
	}
	return err
}

// bytes returns the field that a text goes to.
func (m *Message) bytes(of member) *[]byte {
	switch of {
	case mNsp:
		return &m.Nsp
	case mSID:
		return &m.SID
	case mUID:
		return &m.UID
	case mCode:
		return &m.Code
	case mAuth:
		return &m.Auth
	case mJSON:
		return &m.JSON
	case mData:
		return &m.Data
	}
	return &m.Text
}

// readMap takes a member that is a map.
func (p *parser) readMap(of member, m *Message) (err error) {
	switch of {
	case mHello:
		m.Hello, err = p.hello()
	case mChange:
		m.Change, err = p.change()
	case mWelcome:
		m.Welcome, err = p.welcome()
	case mSettings:
		m.Settings, err = p.settings()
	case mHandshake:
		m.Handshake, err = p.handshake()
	case mState:
		m.State, err = p.state()
	case mIdentity:
		m.Identity, err = p.identity()
	}
	return err
}
