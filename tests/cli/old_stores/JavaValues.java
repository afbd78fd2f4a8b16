// SPDX-License-Identifier: MIT
// What Spring Session's JdkSerializationRedisSerializer writes: `java JavaValues.java >java_values.txt`, by OpenJDK 17. The classes
// are as deep as Spring Security's.
import java.io.ByteArrayOutputStream;
import java.io.Externalizable;
import java.io.IOException;
import java.io.ObjectInput;
import java.io.ObjectInputStream;
import java.io.ObjectOutput;
import java.io.ObjectOutputStream;
import java.io.Serializable;
import java.util.*;

public class JavaValues {
    public enum Rank { LOW, HIGH }

    public static class SecurityContext implements Serializable {
        private static final long serialVersionUID = 1;
        public Object authentication;
    }

    public static class Token implements Serializable {
        private static final long serialVersionUID = 1;
        public Collection<String> authorities = Collections.unmodifiableList(new ArrayList<>(List.of("ROLE_ADMIN")));
        public Object details;
        public boolean authenticated = true;
        public Object principal, credentials;
    }

    public static class Account implements Serializable {
        private static final long serialVersionUID = 1;
        public long id = 4711;
        public String username = "J\u00f6rg \ud83d\ude00\0", role = "admin";
        public Rank rank = Rank.HIGH;
        public UUID uuid = new UUID(0x0123456789abcdefL, 0xfedcba9876543210L);
        public Account self = this;
        public int[] numbers = {1, -2};
        public byte[] key = {1, 2};
        public char letter = 'x';
        public double price = 1.5;
        public Object[] many = {1, "two", 3L, null, true};

        private void writeObject(ObjectOutputStream out) throws IOException {
            out.defaultWriteObject();
            out.writeInt(5);
            out.writeObject("own");
        }
    }

    public static class Written implements Externalizable {
        public void writeExternal(ObjectOutput out) throws IOException {
            out.writeInt(7);
            out.writeObject("external");
        }

        public void readExternal(ObjectInput in) {}
    }

    static void print(String name, Object value) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        ObjectOutputStream out = new ObjectOutputStream(bytes);
        out.writeObject(value);
        out.flush();
        System.out.println(name + " " + Base64.getEncoder().encodeToString(bytes.toByteArray()));
    }

    public static void main(String[] arguments) throws IOException {
        Token token = new Token();
        token.principal = new Account();
        token.credentials = "ROLE_ADMIN";
        SecurityContext context = new SecurityContext();
        context.authentication = token;
        print("context", context);
        print("1790000000123", 1790000000123L);
        print("1800", 1800);
        print("text", "17");
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("id", 5L);
        map.put("list", List.of(1, 2));
        map.put("set", new HashSet<>(List.of("x")));
        map.put("date", new Date(1000));
        map.put("external", new Written());
        map.put("map", Collections.unmodifiableMap(new TreeMap<>(Map.of("k", "v"))));
        map.put("class", String.class);
        map.put("array", Arrays.asList("a", "b"));
        map.put("linked", new LinkedList<>(List.of(9)));
        map.put("hash", new Hashtable<>(Map.of("h", 1)));
        map.put("deque", new ArrayDeque<>(List.of(3)));
        print("map", map);
    }
}
